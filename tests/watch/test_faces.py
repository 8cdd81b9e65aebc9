"""The public faces of train, watch, diagnose and tasks: what they show, and what they cost."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["ravine.train", "ravine.watch", "ravine.diagnose", "ravine.tasks"]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_face_shows_what_it_exports_and_nothing_else(name: str) -> None:
    face = importlib.import_module(name)
    assert sorted(face.__all__) == sorted(dir(face))
    for exported in face.__all__:
        assert not exported.startswith("_")
        assert getattr(face, exported).__doc__, exported
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = face.nothing_of_that_name


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_a_face_loads_no_torch(name: str) -> None:
    code = f"import {name}, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
