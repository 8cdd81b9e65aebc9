"""The machine that the figures belong to, and the memory of this process."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

import ravine


def facts() -> dict[str, str | int | None]:
    """What a reader must know to compare figures: processor, caches, threads, versions."""
    return {
        "cpu": _cpu_model(),
        "l3_cache": _first_line(Path("/sys/devices/system/cpu/cpu0/cache/index3/size")),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "llvmlite": version("llvmlite"),
        "ravine": ravine.__version__,
    }


def resident_bytes() -> int | None:
    """Bytes of this process that are in memory now; None where the system has no ``/proc``."""
    line = _first_line(Path("/proc/self/statm"))
    return int(line.split()[1]) * os.sysconf("SC_PAGE_SIZE") if line else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
