"""A kernel that Triton keeps is found by a later process without reading all of Triton."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from forked import run_forked

from ravine.backends.triton import _native, _text_compiler, _triton_folder
from ravine.backends.triton._stage_text import sum_source

_CODE = """
import sys, torch
from pathlib import Path
from triton.backends.compiler import GPUTarget
from triton.runtime import cache
from ravine.backends.triton import _text_compiler, _triton_folder
from ravine.backends.triton._stage_text import sum_source

def raises(*_, **__):
    raise AssertionError("Triton compiles")

whole = cache.triton_key
for word in sys.argv[1:]:
    if word in ("new", "kept"):
        cache.triton_key = raises if word == "kept" else whole
        try:
            made = _text_compiler.compile_for(sum_source(3), GPUTarget("cuda", 90, 32))
            print(made.hash, len(made.kernel))
        except AssertionError as error:
            print(error)
    else:
        Path(word).write_text("0" * 64)
"""


@pytest.mark.slow  # compiles, in fresh processes
def test_a_later_process_finds_a_kernel_and_a_damaged_note_is_passed_over(tmp_path):
    def run(*words: str):
        env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        env["TRITON_CACHE_DIR"] = str(tmp_path)
        return run_forked(["-c", _CODE, *words], env=env)

    first = run("new")
    assert first.returncode == 0, first.stderr
    (note,) = Path(tmp_path).rglob("ravine_kernel.txt")
    later = run("kept", str(note), "kept", "new", "kept")
    assert later.returncode == 0, later.stderr
    line = first.stdout.strip()
    # damaged, it says nothing: Triton has to look for itself
    assert later.stdout.splitlines() == [line, "Triton compiles", line, line]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Triton's folder of one test."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    return tmp_path / "triton"


@pytest.mark.skipif(os.name != "posix", reason="modes of folders")
def test_a_folder_that_others_can_write_to_gives_nothing_native(folder: Path) -> None:
    assert _triton_folder.kept_privately()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert not _triton_folder.kept_privately()
    assert _native.native.__wrapped__() is None
    folder.chmod(0o700)
    folder.parent.chmod(0o777)  # and they could put another in its place
    assert not _triton_folder.kept_privately()
    folder.parent.chmod(0o1777)
    assert _triton_folder.kept_privately()


@pytest.mark.parametrize("note", ["../../elsewhere", "a b", ""])
def test_a_note_that_is_no_hash_is_not_followed(note: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import cache

    cache.get_cache_manager("0" * 64).put(note, _text_compiler._KEPT_AS, binary=False)
    asked = []
    ask = cache.get_cache_manager
    monkeypatch.setattr(cache, "get_cache_manager", lambda key: asked.append(key) or ask(key))
    assert _text_compiler._kept("0" * 64, None) is None
    assert asked == ["0" * 64]


def test_options_are_part_of_what_a_note_is_found_by() -> None:
    pytest.importorskip("triton")
    keys = {_text_compiler._short_key(sum_source(3), "a target", {"enable_fp_fusion": on}) for on in (False, True)}
    assert len(keys) == 2
