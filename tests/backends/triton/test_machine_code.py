"""Kernels compiled for GPUs that are not here: 16-byte loads and stores, nothing spilled, at most 128 registers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from forked import run_forked

ROOT = Path(__file__).parents[3]
#: The formula with the most states and numbers, in both dtypes, and one with a cube root, which AMD's library lacks.
CASES = [
    ("rmsprop-centered", "float32", "80"),
    ("adam-amsgrad", "bfloat16", "90"),
    ("lion", "bfloat16", "gfx942"),
    ("madgrad", "float32", "gfx942"),
]


PROGRAM = """
import sys
import machine_code

folder, *cases = sys.argv[1:]
for name, dtype, target in map(str.split, cases):
    sys.argv[1:] = ["-o", name, "--dtype", dtype, "--target", target, "--json", f"{folder}/{name}.json"]
    machine_code.main()
"""


@pytest.mark.slow  # compiles a dozen kernels, in a process whose Triton interprets nothing
def test_machine_code(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH")]))
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": path}
    run_forked(["-c", PROGRAM, str(tmp_path), *map(" ".join, CASES)], cwd=ROOT, env=environment, check=True)
    for name, _, target in CASES:
        codes = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert {"write", "write, in brief", "sum", "write, clipped", "add up"} <= {code["kernel"] for code in codes}
        for code in codes:
            assert code["spilled"] == 0, code
            assert code["wide"] >= code["needed"], code
            assert target.startswith("gfx") or code["registers"] <= 128, code
