"""Runs one measurement in a fresh process: nothing compiled, no memory left over by what ran before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import torch

from ravine._bench.cases import Configuration
from ravine.errors import BackendError


def in_fresh_process(
    module: str, configuration: Configuration, *, cache: str | None = None, **more: Any
) -> dict[str, Any]:
    """What ``module.measure(configuration, **more)`` returns in a new process, on as many threads as here.

    Args:
        module: a module's name; its ``measure`` returns what JSON can carry.
        configuration: the optimizer.
        cache: the kernel cache folder there; None for the usual one.
        more: further arguments that JSON can carry.
    """
    environment: Mapping[str, str] = os.environ
    if cache is not None:
        environment = {**os.environ, "RAVINE_CACHE_DIR": cache}
    asked = [module, configuration.name, dict(configuration.options), torch.get_num_threads(), more]
    done = subprocess.run(
        [sys.executable, "-c", "from ravine._bench.process import child; child()", json.dumps(asked)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = " ".join(done.stderr.strip().splitlines()[-1:])
        raise BackendError(f"{module} failed for {configuration.label} in a new process: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def child() -> None:
    """What the fresh process does: its answer goes to standard output as JSON."""
    import importlib

    module, name, options, threads, more = json.loads(sys.argv[1])
    torch.set_num_threads(threads)
    measure = importlib.import_module(module).measure
    sys.stdout.write(json.dumps(measure(Configuration(name, name, options), **more)))
