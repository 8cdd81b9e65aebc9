"""Kernels compiled for GPUs that are not here: 16-byte loads and stores, nothing spilled, at most 128 registers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from forked import run_forked

ROOT = Path(__file__).parents[3]
#: All kernels of the formula with the most states and numbers.
WHOLE = [("adam-amsgrad", "bfloat16", "90")]
#: The kernel that writes. ``benchmarks/machine_code.py`` has that of every named optimizer, which CI runs; the last has a cube
#: root, which AMD's library lacks.
WRITES = [
    *(("rmsprop", "float32", "80"), ("adam", "bfloat16", "75")),  # which has no bfloat16 of its own
    *(("adamw", "bfloat16", "gfx942"), ("madgrad", "float32", "gfx942")),
]

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
codes = [asdict(code) for name, *turn in map(str.split, cases) for code in machine_code.code_that_writes(name, turn)]
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


@pytest.mark.slow  # compiles three kernels
def test_kernels_that_write(tmp_path: Path) -> None:
    cases = compiled(OF_WRITES, tmp_path, WRITES)
    codes = json.loads((tmp_path / "writes.json").read_text(encoding="utf-8"))
    assert [name for name, *_ in cases] == [code["optimizer"] for code in codes]
    check(codes)
