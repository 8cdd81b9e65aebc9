"""Kernels compiled for GPUs that are not here: 16-byte loads and stores, nothing spilled, at most 128 registers."""

from __future__ import annotations

import json
import os
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
from forked import run_forked

from ravine.optim import _registry as registry

ROOT = Path(__file__).parents[3]
#: All kernels of the formula with the most states and numbers.
WHOLE = [("adam-amsgrad", "bfloat16", "90")]
#: The kernel that writes, of every named optimizer; each for one dtype and target in turn. ``benchmarks/machine_code.py`` has all.
TURNS = list(zip(registry.names(), cycle(product(("float32", "bfloat16"), ("80", "90", "gfx942"))), strict=False))
TURNS.append(("madgrad", ("float32", "gfx942")))  # a cube root, which AMD's library lacks

OF_ALL = """
import sys
import machine_code

folder, *cases = sys.argv[1:]
for name, dtype, target in map(str.split, cases):
    sys.argv[1:] = ["-o", name, "--dtype", dtype, "--target", target, "--json", f"{folder}/{name}.json"]
    machine_code.main()
"""
OF_WRITES = """
import json
import sys
from dataclasses import asdict
from pathlib import Path
import machine_code

folder, *cases = sys.argv[1:]
codes = [
    asdict(machine_code.code_of(name, dtype, target, kernel, source, needed))
    for name, dtype, target in map(str.split, cases)
    for program in machine_code.programs_of(name)
    for kernel, source, needed in machine_code.kernels(program, machine_code.DTYPES[dtype], target)
    if kernel == "write"
]
Path(folder, "writes.json").write_text(json.dumps(codes))
"""


def compiled(code: str, folder: Path, cases: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Run this in a process whose Triton interprets nothing."""
    triton = pytest.importorskip("triton")
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 5):  # compiling for AMD then needs ROCm's linker
        cases = [case for case in cases if not case[-1].startswith("gfx")]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH")]))
    environment |= {"TRITON_CACHE_DIR": str(folder), "PYTHONPATH": path}
    run_forked(["-c", code, str(folder), *map(" ".join, cases)], cwd=ROOT, env=environment, check=True)
    return cases


def check(codes: list[dict[str, Any]]) -> None:
    for code in codes:
        assert code["spilled"] == 0, code
        assert code["wide"] >= code["needed"], code
        assert code["target"].startswith("gfx") or code["registers"] <= 128, code


@pytest.mark.slow  # compiles a dozen kernels
def test_all_kernels_of_an_optimizer(tmp_path: Path) -> None:
    for name, *_ in compiled(OF_ALL, tmp_path, WHOLE):
        codes = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert {"write", "write, in brief", "sum", "write, clipped", "add up"} <= {code["kernel"] for code in codes}
        check(codes)


@pytest.mark.slow  # compiles a kernel of each optimizer
@pytest.mark.parametrize("half", [0, 1])
def test_every_optimizers_kernel_that_writes(half: int, tmp_path: Path) -> None:
    cases = [(name, *turn) for name, turn in TURNS[half::2]]
    cases = compiled(OF_WRITES, tmp_path, cases)
    codes = json.loads((tmp_path / "writes.json").read_text(encoding="utf-8"))
    assert {name for name, *_ in cases} == {code["optimizer"] for code in codes}
    check(codes)
