"""More seeds for a study that is there: one that is settled stays as it is, whatever is asked for; others go on."""

import json
from pathlib import Path

import pytest

import ravine
from ravine.comparison import _earlier_study as module
from ravine.comparison._study.trial_runner import TrialRunner

SMALL = {"preset": "quick", "points": 2, "steps": 10, "jobs": 1}
#: The second learns nothing: the first is the best in any study.
UNEQUAL, ALIKE = ["sgd", "sgd:lr=1e-7"], ["sgd", "adam"]


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ravine.comparison._run_study.measure_seconds", lambda *_: {})
    monkeypatch.setattr("ravine.comparison._report.report_files.figure_pngs", lambda data: iter(()))


def written():
    Path("ravine-out/mine/report.md").unlink(missing_ok=True)
    ravine.comparison.load_study("mine").write()
    return {name: Path("ravine-out/mine", name).read_bytes() for name in ("results.json", "report.md", "report.html")}


@pytest.mark.parametrize("more", [{"seeds": 7}, {"until": "settled", "at_most": 11}])
def test_a_settled_study_gets_no_more_seeds_and_keeps_its_intervals(more, monkeypatch, capsys):
    first = ravine.compare("breast-cancer", UNEQUAL, **SMALL, seeds=5, study="mine", quiet=True)
    assert first.judgement.losses.settled
    before = written()
    monkeypatch.setattr(TrialRunner, "run", None)
    capsys.readouterr()
    again = ravine.compare("breast-cancer", UNEQUAL, **SMALL, **more, study="mine")
    said = " ".join(capsys.readouterr().err.split())
    assert "mine is settled after 5 seeds, so no seeds are added" in said
    assert "another --study, and --study-seed 1" in said
    assert again.spec == first.spec
    assert again.judgement.sentence == first.judgement.sentence
    assert not [note for note in again.judgement.warnings if note.kind == "extended"]
    assert written() == before
    assert json.loads(before["results.json"])["settled_early"] is None
    quiet = ravine.compare("breast-cancer", UNEQUAL, **SMALL, **more, study="mine", quiet=True)
    assert quiet.spec == first.spec
    assert capsys.readouterr().err == ""


def test_a_study_that_was_settled_at_a_look_before_its_last_is_not_extended(capsys):
    plan = {"until": "settled", "at_most": 11}
    first = ravine.compare("breast-cancer", UNEQUAL, **SMALL, **plan, study="mine", quiet=True)
    assert first.record.settled_early is not None
    again = ravine.compare("breast-cancer", UNEQUAL, **SMALL, seeds=20, study="mine")
    assert "mine is settled after 8 seeds" in " ".join(capsys.readouterr().err.split())
    assert again.spec == first.spec
    assert again.record.settled_early == first.record.settled_early


def test_of_several_tasks_those_that_are_not_settled_go_on(monkeypatch, capsys):
    tasks = ["breast-cancer", "rosenbrock"]
    ravine.compare(tasks, ALIKE, **SMALL, seeds=2, study="both", quiet=True)
    monkeypatch.setattr(module, "settled", lambda spec, results: spec.task == "breast-cancer")
    more = ravine.compare(tasks, ALIKE, **SMALL, seeds=3, study="both")
    assert "both.breast-cancer is settled" in " ".join(capsys.readouterr().err.split())
    assert {task: result.spec.seeds for task, result in more.tasks.items()} == {"breast-cancer": 2, "rosenbrock": 3}
    assert "--seeds 3 " in more.command, "with fewer, the other task would be refused"
    monkeypatch.setattr(TrialRunner, "run", None)
    ravine.compare(tasks, ALIKE, **SMALL, seeds=3, study="both")
