"""A journal whose last line is torn, or in which something was changed: by a full disk, a killed writer, or a bad disk."""

import errno
import json
import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ravine.comparison._study import study_journal as journals
from ravine.comparison._study.stages import stage
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import FORMAT, OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.comparison._study.trial_claim import RESULT
from ravine.errors import DataError
from ravine.optim.search import Range

SPEC = StudySpec("digits", (OptimizerConfig("sgd", {"lr": Range(1e-3, 1.0)}),), steps=10, points=4, looks=(2,))


def begun(path):
    store = Store("study", path)
    store.create(SPEC)
    return store


def add(store, number=1):
    for _ in range(number):
        _, claim = store.claim(stage(SPEC, store.results()).trials, SPEC)
        claim.finish(TrialResult(0.5, (1,), (0.5,), False))


@pytest.mark.parametrize("torn", [1, 17, 300])
def test_a_torn_last_line_is_taken_away_and_the_study_goes_on(tmp_path, torn):
    path = tmp_path / "study.journal"
    add(begun(path), 2)
    path.write_bytes(path.read_bytes()[:-torn])
    add(begun(path), 1)
    store = begun(path)
    assert len(store.results()) >= 2
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
    assert len(begun(path).results()) == 2


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
    with pytest.raises(
        DataError,
        match=r"study\.journal, line \d,? .*(not a journal of trials|not a line of a journal of trials), or it is damaged",
    ):
        begun(path)


def test_any_byte_that_was_changed_is_told_with_its_line_and_never_read(tmp_path):
    path = tmp_path / "study.journal"
    add(begun(path), 2)
    whole = path.read_bytes()
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    draw = random.Random(0)
    digits = [i for i, byte in enumerate(whole) if chr(byte).isdigit()]
    for at in {*draw.sample(range(len(whole)), 150), *draw.sample(digits, 100)} - set(ends):
        other = draw.choice(b"0123456789") if at in digits else draw.randrange(32, 127)
        if other == whole[at]:
            continue
        path.write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
        line = sum(end < at for end in ends) + 1
        with pytest.raises(DataError, match=rf"study\.journal, line {line}, is damaged"):
            begun(path).results()


@pytest.mark.parametrize("damage", [b"\x00rubbish\n", b'{"op_code":5,"worker_id"\n', None])
def test_a_journal_with_a_damaged_line_is_mended_by_what_the_error_says(tmp_path, damage):
    path = tmp_path / "my studies" / "study.journal"
    path.parent.mkdir()
    add(begun(path), 3)
    lines = path.read_bytes().splitlines(keepends=True)
    at = [number for number, line in enumerate(lines) if RESULT.encode() in line][1]
    lines[at] = lines[at].replace(b"0.5", b"0.6") if damage is None else damage
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=rf"line {at + 1}, is .*damaged") as error:
        begun(path)
    command = re.search(r"\((head .*)\), and resume", str(error.value))[1]
    subprocess.run(command, shell=True, check=True)
    assert path.read_bytes() == b"".join(lines[:at])
    assert Path(f"{path}.damaged").read_bytes() == b"".join(lines)
    store = begun(path)
    assert len(store.results()) == 1
    add(store)
    assert len(begun(path).results()) == 2


def test_a_line_taken_out_of_a_journal_gives_results_to_other_trials(tmp_path):
    """Why the error does not advise it."""
    path = tmp_path / "study.journal"
    add(begun(path), 3)
    before = {trial: result.score for trial, result in begun(path).results().items()}
    lines = path.read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b'"op_code":4' in line)
    path.write_bytes(b"".join(lines[:first] + lines[first + 1 :]))
    assert begun(path).results().keys() != before.keys()


def test_a_file_that_begins_with_rubbish_has_nothing_to_keep(tmp_path):
    path = tmp_path / "study.journal"
    path.write_bytes(b"not a journal\n")
    with pytest.raises(DataError, match=r"line 1, is not a line of .* or it is damaged\. Name another file\.$"):
        begun(path)


def unsigned(line):
    """A line as it was written before there were checksums."""
    tree = json.loads(line)
    del tree["checksum"]
    return json.dumps(tree, separators=(",", ":")).encode() + b"\n"


def test_a_journal_without_checksums_is_read_and_goes_on_with_them(tmp_path):
    path = tmp_path / "study.journal"
    add(begun(path), 2)
    expected = begun(path).results()
    lines = path.read_bytes().splitlines()
    before = len(lines)
    path.write_bytes(b"".join(map(unsigned, lines)))
    assert begun(path).results() == expected
    add(begun(path))
    signed = [b'"checksum":"crc32:' in line for line in path.read_bytes().splitlines()]
    assert len(signed) > before
    assert signed == [number >= before for number in range(len(signed))]
    assert len(begun(path).results()) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"steps":[1]', b'"stebs":[1]'),
        (b'"losses":[0.5]', b'"losses":0.5'),
        (b'"user_attr":{"ravine result"', b'"user_attt":{"ravine result"'),
        (b'"trial_id":1', b'"trial_ib":1'),
        (b'"op_code":8', b'"op_code":null'),
        (b'"state":1', b'"state":99'),
    ],
)
def test_what_is_changed_in_a_line_without_a_checksum_is_a_data_error_all_the_same(tmp_path, old, new):
    path = tmp_path / "study.journal"
    add(begun(path), 2)
    content = b"".join(map(unsigned, path.read_bytes().splitlines()))
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(DataError, match=r"study\.journal, (line|trial) \d+"):
        begun(path).results()


def test_optuna_and_its_dashboard_read_the_journal_and_may_write_to_it(tmp_path):
    path = tmp_path / "study.journal"
    add(begun(path), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="study", storage=storage)
    assert [trial.value for trial in study.trials] == [0.5, 0.5]
    assert list(study.trials[0].params) == ["sgd lr"]
    storage.set_study_system_attr(study._study_id, "dashboard:note_str:0", "a remark")  # as the dashboard keeps notes
    add(begun(path))
    assert len(begun(path).results()) == 3


def test_a_file_that_is_none_of_ours_is_left_as_it_is(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_bytes(b"All of my work, in one line")
    with pytest.raises(DataError, match=r"thesis\.txt is not a journal of trials"):
        begun(path)
    assert path.read_bytes() == b"All of my work, in one line"


def test_a_study_of_an_older_version_is_refused_in_words(tmp_path):
    path = tmp_path / "study.journal"
    begun(path)
    old = SPEC.to_json().replace(f'"format":{FORMAT},', "")
    assert old != SPEC.to_json()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for tree in lines:
        del tree["checksum"]
        if "ravine spec" in tree.get("user_attr", {}):
            tree["user_attr"]["ravine spec"] = old
    path.write_text("".join(json.dumps(tree) + "\n" for tree in lines))
    for read in (lambda: begun(path), lambda: Store("study", path).spec()):
        with pytest.raises(DataError, match=r"written by an older version of Ravine \(format 1; .* Start a new study"):
            read()


def test_optuna_is_imported_without_the_warning_of_notebooks():
    """In a notebook without ipywidgets tqdm warns of bars that nobody shows, above the verdict."""
    program = """
import sys, warnings

class Warns:
    def find_spec(self, name, path=None, target=None):
        if name == "tqdm.auto":
            warnings.warn("IProgress not found. Please update jupyter and ipywidgets.")

sys.meta_path.insert(0, Warns())
import ravine
ravine.compare
import ravine.comparison._study.store
assert "tqdm.auto" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "IProgress" not in done.stderr
