"""Pictures do not depend on MPLBACKEND, which a notebook sets for itself and for its shell commands."""

import os
import subprocess
import sys

import pytest

DRAW = "from ravine._plotting.style import blank, png; assert png(blank(2, 2))[:4] == bytes([137, 80, 78, 71])"


@pytest.mark.parametrize("backend", ["inline", "module://matplotlib_inline.backend_inline_that_is_not_here"])
def test_a_backend_that_is_not_installed(backend):
    done = subprocess.run(
        [sys.executable, "-c", DRAW], env={**os.environ, "MPLBACKEND": backend}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
