"""A kernel that Triton keeps is found by a later process without reading all of Triton."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import sys, torch
from triton.backends.compiler import GPUTarget
from triton.runtime import cache
from ravine.backends.triton import _text_compiler
from ravine.backends.triton._pass_text import sum_source
if sys.argv[1] == "kept":
    def raises(*_, **__):
        raise AssertionError("Triton compiles")
    cache.triton_key = raises
made = _text_compiler.compile_for(sum_source(3), GPUTarget("cuda", 90, 32))
print(made.hash, len(made.kernel))
"""


@pytest.mark.slow  # compiles, in fresh processes
def test_a_later_process_finds_a_kernel_and_a_damaged_note_is_passed_over(tmp_path):
    def run(how: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        env["TRITON_CACHE_DIR"] = str(tmp_path)
        return subprocess.run([sys.executable, "-c", _CODE, how], env=env, capture_output=True, text=True, check=False)

    first = run("new")
    assert first.returncode == 0, first.stderr
    assert run("kept").stdout == first.stdout
    (note,) = Path(tmp_path).rglob("ravine_kernel.txt")
    note.write_text("0" * 64)
    assert run("kept").returncode != 0  # Triton has to look for itself
    assert run("new").stdout == first.stdout
    assert run("kept").stdout == first.stdout
