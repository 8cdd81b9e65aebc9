"""A folder has the report of one study: another one is refused before it trains, and what is there stays as it is."""

from pathlib import Path

import pytest

import ravine
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.errors import OptionError

SMALL = {"preset": "quick", "points": 2, "seeds": 2, "steps": 4, "jobs": 1, "quiet": True}
TWO = ["sgd", "rmsprop"]


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ravine.comparison._study.trial_runner.stacked_task", lambda task: None)
    monkeypatch.setattr("ravine.comparison._run_study.measure_seconds", lambda *_: {})
    monkeypatch.setattr("ravine.comparison._report.report_files.figure_pngs", lambda data: iter(()))


def kept(folder):
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def refused(monkeypatch, text, task="breast-cancer", **options):
    """That a comparison is refused, without a training and without a change in any file."""
    before = kept(".")
    with monkeypatch.context() as patched, pytest.raises(OptionError, match=text) as error:
        patched.setattr(TrialRunner, "run", None)
        ravine.compare(task, TWO, **{**SMALL, **options})
    assert "--out" in error.value.on_command_line
    assert kept(".") == before


def test_a_study_of_the_same_name_in_another_storage_does_not_write_over_a_report(monkeypatch):
    ravine.compare("breast-cancer", TWO, **SMALL, study="mine").write()
    refused(monkeypatch, r"ravine-out/mine has a study of its own", study="mine", storage="other.journal")
    ravine.compare("breast-cancer", TWO, **SMALL).write()
    refused(monkeypatch, r"ravine-out/compare-breast-cancer has a study of its own", storage="other.journal")
    elsewhere = ravine.compare("breast-cancer", TWO, **SMALL, study="mine", storage="other.journal", out="new")
    elsewhere.write()
    again = ravine.compare(
        "breast-cancer", TWO, **{**SMALL, "seeds": 3}, study="mine", storage="other.journal", out="new"
    )
    again.write()
    assert again.spec.seeds == 3, "its own report is drawn again, also with more seeds"


def test_a_report_without_its_storage_is_told_by_what_was_declared(monkeypatch):
    first = ravine.compare("breast-cancer", TWO, **SMALL, study="mine", storage="one.journal")
    first.write()
    refused(monkeypatch, "another study 'mine', with other options", study="mine", storage="two.journal", steps=5)
    refused(monkeypatch, "the report of the study 'mine'", study="yours", storage="one.journal", out="ravine-out/mine")
    Path("ravine-out/mine/results.json").write_text('{"accuracy": 0.9}')
    refused(monkeypatch, "a results.json that is not of a study", study="mine", storage="one.journal")
    first.write()
    ravine.compare("breast-cancer", TWO, **SMALL, study="mine", storage="one.journal").write()


def test_a_folder_named_without_its_study_does_not_get_a_second_one(monkeypatch):
    ravine.compare("breast-cancer", TWO, **SMALL, study="mine", out="new")
    refused(monkeypatch, "The folder new has the study mine, and not 'compare-breast-cancer'", out="new")


def test_several_tasks_and_one_do_not_share_a_name(monkeypatch):
    tasks = ["breast-cancer", "rosenbrock"]
    ravine.compare(tasks, TWO, **SMALL, study="both").write()
    before = kept("ravine-out")
    with pytest.raises(OptionError, match=r"'both' has .*rosenbrock.*, too: name all of its tasks"):
        ravine.compare("breast-cancer", TWO, **SMALL, study="both")
    ravine.compare("breast-cancer", TWO, **SMALL, study="one")
    with pytest.raises(OptionError, match="'one' has one task: name another study"):
        ravine.compare(tasks, TWO, **SMALL, study="one")
    assert before.items() <= kept("ravine-out").items()
    refused(monkeypatch, "ravine-out/both has a study of its own", tasks, study="both", storage="other.journal")
    ravine.compare(tasks, TWO, **SMALL, study="both").write()
