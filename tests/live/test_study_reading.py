"""What the page knows of a study is what its storage has and its report would say, while it runs and at its end."""

import json
import shutil

import pytest
from live_runs import Events, ask

import ravine
from ravine._live.control import study_actions
from ravine._live.open_study import live_study
from ravine._live.serving import LiveServer
from ravine._live.study_parts import study_parts
from ravine._live.study_reading import StudyReading
from ravine.comparison import load_study
from ravine.comparison._study.heartbeats import heartbeats
from ravine.comparison._study.location import JOURNAL, Location
from ravine.comparison._study.stages import stage
from ravine.comparison._study.store import Store
from ravine.errors import OptionError

LABELS = ["sgd", "rmsprop"]


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """The folder of a small study that is complete, with its report."""
    folder = tmp_path_factory.mktemp("studies") / "small"
    ravine.compare("breast-cancer", LABELS, points=2, seeds=3, steps=4, jobs=1, out=folder, quiet=True).write()
    return folder


@pytest.fixture
def folder(complete, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(complete, tmp_path / "small")
    return tmp_path / "small"


def place(folder):
    return Location("", str(folder / JOURNAL), folder)


def cut(folder, results):
    """The journal as it was when so many trials had ended."""
    path = folder / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if b'"op_code":6,' in line]
    path.write_bytes(b"".join(lines[: ends[results - 1] + 1]))


def claimed(folder):
    """A trial that is needed, claimed by a worker that takes all others for dead."""
    store = Store("compare-breast-cancer", folder / JOURNAL, heartbeat=0.01, stale=-1.0)
    spec = store.spec()
    needed = stage(spec, store.results()).trials
    return (store, *(store.claim(needed, spec) or store.claim(needed, spec)))


def test_a_complete_study_is_shown_as_its_report_has_it(complete):
    study = StudyReading(place(complete)).poll()
    result = load_study("compare-breast-cancer", storage=str(complete / JOURNAL), out=complete)
    parts = study_parts(study)
    assert parts["head"]["word"] == "done"
    assert parts["head"]["message"] == result.judgement.sentence
    assert parts["report"] is True
    assert [one["label"] for one in parts["optimizers"]] == LABELS
    rows = result.report.differences["validation loss"].rows
    assert [row["ends"] for row in parts["differences"]["validation loss"]["rows"]] == [
        [float(f"{v:.6g}") for v in (row.middle, row.low, row.high)] for row in rows
    ]
    assert sum(len(one["x"]) for one in parts["trials"]) == len(result.trial_results)
    json.dumps(parts, allow_nan=False)


def test_a_study_that_runs_shows_trials_as_they_come(folder):
    whole = (folder / JOURNAL).read_bytes()
    seen = []
    reading = StudyReading(place(folder))
    for done in (1, 5, 12):
        (folder / JOURNAL).write_bytes(whole)
        cut(folder, done)
        reading = StudyReading(place(folder))
        parts = study_parts(reading.poll())
        seen.append(sum(len(one["x"]) for one in parts["trials"]))
        assert parts["head"]["message"].startswith("No verdict yet: 0 of 3 seeds finished")
        assert parts["head"]["figures"][0] == ["trainings", str(done), parts["head"]["figures"][0][2]]
        assert parts["differences"] is None
        assert parts["report"] is False
    assert seen == [1, 5, 12]


def test_what_is_new_is_read_by_the_same_reading(folder):
    path = folder / JOURNAL
    whole = path.read_bytes()
    cut(folder, 4)
    reading = StudyReading(place(folder), clock=iter(range(10**6)).__next__)
    assert reading.poll() is not None
    with path.open("ab") as file:
        file.write(whole[path.stat().st_size :][:40])  # a line that is not finished
    torn = reading.poll()
    assert torn is None or sum(len(one["x"]) for one in study_parts(torn)["trials"]) == 4
    path.write_bytes(whole)
    assert study_parts(_next(reading))["head"]["word"] == "done"


def _next(reading):
    for _ in range(500):
        if (study := reading.poll()) is not None:
            return study
    raise AssertionError("nothing has changed")


def test_running_trials_are_those_whose_workers_are_alive(folder):
    cut(folder, 2)
    now = [0.0]
    _, trial, claim = claimed(folder)
    reading = StudyReading(place(folder), clock=lambda: now[0])
    with heartbeats([claim]):
        parts = study_parts(reading.poll())
    assert parts["head"]["word"] == "running"
    assert parts["latest"]["rows"][0][1:4] == [trial.label, "tuning", str(trial.seed)]
    assert parts["latest"]["rows"][0][5] == "running"
    reading.poll()  # the last beats
    now[0] = 1000.0
    assert study_parts(reading.poll())["head"]["word"] == "paused"


def test_before_the_first_trial_a_study_starts_and_is_not_paused(folder):
    path = folder / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if b'"op_code":4,' in line)  # a trial is made
    path.write_bytes(b"".join(lines[:first]))
    head = study_parts(StudyReading(place(folder)).poll())["head"]
    assert head["word"] == "starting"
    assert "Nobody works" not in head["detail"]


def test_a_study_that_is_not_there_yet_is_waited_for_and_one_that_goes_stays_on_the_page(complete, tmp_path):
    folder = tmp_path / "later"
    clock = iter(range(10**6)).__next__
    reading = StudyReading(place(folder), clock=clock)
    assert study_parts(reading.poll())["head"]["word"] == "waiting"
    assert reading.poll() is None
    assert not folder.exists()
    shutil.copytree(complete, folder)
    assert study_parts(_next(reading))["head"]["word"] == "done"
    shutil.rmtree(folder)
    parts = study_parts(_next(reading))
    assert parts["head"]["word"] == "gone"
    assert sum(len(one["x"]) for one in parts["trials"]) > 0


def test_several_tasks_are_shown_one_after_the_other(tmp_path):
    folder = tmp_path / "two"
    ravine.compare(["rosenbrock", "beale"], LABELS, points=1, seeds=2, steps=3, jobs=1, out=folder, quiet=True)
    reading = StudyReading(place(folder), clock=iter(range(10**6)).__next__)
    last = None
    while (study := reading.poll()) is not None:
        last = study
    assert last.report is None  # these losses are beyond what can be compared
    assert list(last.tasks) == ["rosenbrock", "beale"]
    assert last.task == 1
    assert "beale (task 2 of 2)" in study_parts(last)["head"]["title"]


def test_the_report_is_served_with_the_page(complete):
    with LiveServer(live_study(place(complete))).running() as address:
        with Events(address) as events:
            assert events.until(lambda parts: parts.get("head", {}).get("word") == "done")["report"] is True
        assert ask(f"{address}files/report.html")[2] == (complete / "report.html").read_text()
        assert ask(f"{address}files/{JOURNAL}")[0] == 404
        assert ask(f"{address}act/seeds", {"seeds": 3})[0] == 403


# --- control ----------------------------------------------------------------------------------------------------------


def test_a_trial_that_is_stopped_counts_as_failed_and_says_why(folder):
    cut(folder, 2)
    store, trial, claim = claimed(folder)
    spec = store.spec()
    reading = StudyReading(place(folder))
    reading.poll()
    said = study_actions(reading)["stop"]({"trial": str(claim.id)})
    assert said.startswith(f"Trial {claim.id + 1} counts as failed")
    kept = store.results()[trial.key(spec)]
    assert kept.diverged
    assert "stopped from the live page" in kept.error
    from ravine.comparison._study.trial import TrialResult

    claim.finish(TrialResult(score=0.1, diverged=False))  # its worker comes too late
    assert store.results()[trial.key(spec)].diverged
    with pytest.raises(OptionError, match="no running trial"):
        study_actions(reading)["stop"]({"trial": claim.id})


@pytest.mark.parametrize("given", [{}, {"trial": "x"}, {"trial": -1}, {"trial": [1]}])
def test_what_is_no_trial_is_refused(folder, given):
    reading = StudyReading(place(folder))
    reading.poll()
    with pytest.raises(OptionError, match="^trial: "):
        study_actions(reading)["stop"](given)


def test_seeds_are_added_by_the_command_of_the_study(folder):
    reading, started = StudyReading(place(folder)), []
    reading.poll()
    said = study_actions(reading, started.append)["seeds"]({"seeds": "2"})
    assert said.startswith("The study goes on to 5 seeds")
    (words,) = started
    assert words[0] == "compare"
    assert words[-6:] == ["--seeds", "5", "--out", str(folder), "--storage", str(folder / JOURNAL)]
    assert words.count("--seeds") == 1


def test_seeds_of_a_study_that_runs_are_refused(folder):
    cut(folder, 3)
    reading = StudyReading(place(folder))
    reading.poll()
    with pytest.raises(OptionError, match="once the study is complete"):
        study_actions(reading)["seeds"]({"seeds": 2})
    with pytest.raises(OptionError, match="not between 1 and 1000"):
        study_actions(reading)["seeds"]({"seeds": 0})


def test_seeds_of_a_study_that_is_settled_are_refused(folder, monkeypatch):
    reading = StudyReading(place(folder))
    reading.poll()
    monkeypatch.setattr("ravine._live.control.settled", lambda spec, results: True)
    with pytest.raises(OptionError, match="The study is settled: more seeds would change no verdict"):
        study_actions(reading, [].append)["seeds"]({"seeds": 2})
