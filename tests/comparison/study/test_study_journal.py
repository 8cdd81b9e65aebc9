"""A journal whose last line is torn: by a full disk, a killed writer, or a cut file."""

import errno
import os

import pytest

from ravine.comparison._study import study_journal as journals
from ravine.comparison._study.stages import stage
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import ArmSpec, Spec
from ravine.comparison._study.trial import Outcome
from ravine.errors import DataError
from ravine.optim.search import Range

SPEC = Spec("digits", (ArmSpec("sgd", {"lr": Range(1e-3, 1.0)}),), steps=10, points=4, seeds=2)


def begun(path):
    store = Store("study", path)
    store.begin(SPEC)
    return store


def add(store, number=1):
    for _ in range(number):
        _, claim = store.claim(stage(SPEC, store.done()).jobs, SPEC)
        claim.finish(Outcome(0.5, (1,), (0.5,), False))


@pytest.mark.parametrize("torn", [1, 17, 300])
def test_a_torn_last_line_is_taken_away_and_the_study_goes_on(tmp_path, torn):
    path = tmp_path / "study.journal"
    add(begun(path), 2)
    path.write_bytes(path.read_bytes()[:-torn])
    add(begun(path), 1)
    store = begun(path)
    assert len(store.done()) >= 2
    lines = path.read_bytes().splitlines(keepends=True)
    assert all(line.startswith(b'{"op_code"') and line.endswith(b"}\n") for line in lines)


def test_what_a_full_disk_took_of_a_line_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "study.journal"
    store = begun(path)
    add(store)
    before, sync, full = path.read_bytes(), os.fsync, []

    def fails(descriptor):
        full.append(os.fstat(descriptor).st_size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journals.os, "fsync", fails)
    with pytest.raises(DataError, match="No space left on device"):
        add(store)
    assert full[0] > len(before), "something was written"
    assert path.read_bytes() == before
    monkeypatch.setattr(journals.os, "fsync", sync)
    add(begun(path))
    assert len(begun(path).done()) == 2


def test_a_long_last_line_is_found_to_its_begin(tmp_path):
    path = tmp_path / "study.journal"
    begun(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * 10_000)
    add(begun(path))
    assert path.read_bytes().startswith(whole)
    assert b"xx" not in path.read_bytes()


@pytest.mark.parametrize("content", [b"not a journal\n", b"\xff\xfe\n\n", b'{"op_code":0}\nrubbish\n{"op_code":0}\n'])
def test_what_is_no_journal_is_refused(tmp_path, content):
    path = tmp_path / "study.journal"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"study\.journal is no journal of trials, or it is damaged"):
        begun(path)
