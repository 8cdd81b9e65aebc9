"""``ravine compare`` of several tasks, from the outside and from Python: its studies, workers, resuming, refusals."""

import json
import shlex
import sys
from pathlib import Path

import pytest

import ravine
from ravine.cli import main
from ravine.comparison import TasksResult, load_study
from ravine.comparison._study.store import Store
from ravine.errors import OptionError

SMALL = {"points": 2, "seeds": 2, "steps": 8, "jobs": 1, "quiet": True}
WORDS = ("--points", "2", "--seeds", "2", "--steps", "8", "--jobs", "1")
TASKS = ["breast-cancer", "rosenbrock"]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a subcommand in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_several_tasks_are_judged_one_by_one_and_together(call):
    code, out, err = call("compare", *TASKS, "-o", "sgd", "-o", "adam", *WORDS)
    assert (code, err) == (0, "")
    folder = Path("ravine-out/compare-breast-cancer-rosenbrock")
    result = load_study(folder.name)
    assert isinstance(result, TasksResult)
    assert list(result.tasks) == TASKS
    assert out.splitlines()[0] == result.aggregate.sentence
    assert all((folder / task / "report.html").is_file() for task in TASKS)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert call("report", folder.name)[0] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    # each is an ordinary study, of which every training can be repeated
    tree = json.loads((folder / "rosenbrock" / "results.json").read_text())
    where = ("--storage", str(folder / "study.journal"))
    key = tree["trainings"][-1]["key"]
    code, out, _ = call("worker", "--study", f"{folder.name}.rosenbrock", *where, "--rerun", key)
    assert (code, "the same to the last digit" in out) == (0, True)
    code, _, err = call("worker", "--study", folder.name, *where, "--rerun", key)
    assert code == 2
    assert f"name the study of one: {folder.name}.breast-cancer, {folder.name}.rosenbrock" in err


def test_the_same_numbers_as_each_task_alone_and_the_order_changes_nothing(call, monkeypatch):
    """Also of trainings that run together."""
    monkeypatch.setattr("ravine.comparison._report.report_files.figure_pngs", lambda data: iter(()))
    monkeypatch.setattr("ravine.comparison._run_study.measure_seconds", lambda *_: {})
    both = ravine.compare(TASKS, ["sgd", "adam"], **SMALL)
    other = ravine.compare(TASKS[::-1], ["adam", "sgd"], **SMALL)
    for task in TASKS:
        alone = ravine.compare(task, ["sgd", "adam"], **SMALL)
        assert alone.judgement.sentence == both.tasks[task].judgement.sentence == other.tasks[task].judgement.sentence
        assert {k: r.losses for k, r in alone.trial_results.items()} == {
            k: r.losses for k, r in both.tasks[task].trial_results.items()
        }
    assert sorted(both.aggregate.sentence.split()) == sorted(other.aggregate.sentence.split())
    assert both.aggregate.improvement == other.aggregate.improvement


def test_it_is_resumed_and_gets_more_seeds_and_tasks(simply, call, monkeypatch):
    first = ravine.compare(TASKS, ["sgd", "adam"], **SMALL, study="mine")
    with monkeypatch.context() as patch:
        patch.setattr(
            "ravine.comparison._study.trial_runner.TrialRunner.run", None
        )  # were it called, that would be an error
        again = ravine.compare(TASKS, ["sgd", "adam"], **SMALL, study="mine")
        assert again.aggregate.sentence == first.aggregate.sentence
        words = shlex.split(first.command)
        assert words[:4] == ["ravine", "compare", *TASKS]
        assert call(*words[1:])[0] == 0, "the command of the report resumes it"
    more = ravine.compare([*TASKS, "beale"], ["sgd", "adam"], **{**SMALL, "seeds": 3}, study="mine")
    assert list(load_study("mine").tasks) == [*TASKS, "beale"]
    assert more.tasks["rosenbrock"].spec.looks == (2, 3)
    assert more.tasks["beale"].spec.looks == (3,)
    assert shlex.split(load_study("mine").command)[:5] == ["ravine", "compare", *TASKS, "beale"]
    assert load_study("mine").command == more.command


def test_a_task_that_is_added_is_declared_as_the_others(simply, call):
    ravine.compare(TASKS, ["sgd", "adam"], **SMALL, study="mine")
    with pytest.raises(
        OptionError, match=r"has breast-cancer and rosenbrock, too: name all of its tasks, breast-cancer ros"
    ):
        ravine.compare(["beale"], ["sgd", "adam"], **SMALL, study="mine")
    for optimizers, options, what in (
        (["sgd", "lion"], {}, "lion takes part only now"),
        (["sgd", "adam"], {"points": 3}, "points: 2 in the study, 3 now"),
    ):
        with pytest.raises(OptionError, match=what):
            ravine.compare(["beale", *TASKS], optimizers, **{**SMALL, **options}, study="mine")
    assert Store("mine", "ravine-out/mine/study.journal").names() == [f"mine.{task}" for task in TASKS], (
        "none was added"
    )
    ravine.compare(["beale", *TASKS[::-1]], ["sgd", "adam"], **SMALL, study="mine")
    assert list(load_study("mine").tasks) == [*TASKS, "beale"]


def test_a_study_whose_name_begins_like_another_is_not_mixed_with_it(simply, call):
    where = {"storage": "both.journal"}
    ravine.compare(TASKS, ["sgd", "adam"], **SMALL, study="exp.v2", **where)
    ravine.compare([*TASKS, "beale"], ["sgd", "adam"], **SMALL, study="exp", **where)
    assert list(load_study("exp", **where).tasks) == [*TASKS, "beale"]
    assert list(load_study("exp.v2", **where).tasks) == TASKS
    with pytest.raises(OptionError, match="no study 'ex'"):
        load_study("ex", **where)


def test_a_worker_finishes_what_was_stopped(simply, call, monkeypatch):
    def interrupted(runner, trials, ended):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
        patch.setattr("ravine.comparison._study.trial_runner.TrialRunner.run", interrupted)
        ravine.compare(TASKS, ["sgd", "adam"], **SMALL, study="mine")
    assert "Resume: ravine compare breast-cancer rosenbrock -o sgd -o adam" in stopped.value.__notes__[0]
    code, out, err = call("report", "mine")
    assert code == 1
    assert out.startswith("breast-cancer: 0 of about ")
    assert "no task has come to its first look" in err
    code, out, _ = call("worker", "--study", "mine", "--storage", "ravine-out/mine/study.journal")
    assert code == 0
    assert "The study mine.breast-cancer in ravine-out/mine/study.journal is complete." in out
    assert "The study mine.rosenbrock in ravine-out/mine/study.journal is complete." in out
    assert call("report", "mine")[0] == 0
    whole = ravine.compare(TASKS, ["sgd", "adam"], **SMALL)
    assert load_study("mine").aggregate.sentence == whole.aggregate.sentence


def test_looks_and_the_study_seed_are_those_of_every_task(simply, call):
    options = {**SMALL, "until": "settled", "at_most": 3, "study_seed": 2}
    del options["seeds"]
    result = ravine.compare(TASKS, ["sgd", "adam"], **options)
    assert {(one.spec.looks, one.spec.seed) for one in result.tasks.values()} == {((3,), 2)}


def test_a_dry_run_says_what_each_task_costs(call):
    code, out, _ = call("compare", *TASKS, "-o", "sgd", "-o", "adam", *WORDS, "--dry-run")
    assert code == 0
    assert [line for line in out.splitlines() if line.endswith(":")] == ["breast-cancer:", "rosenbrock:"]
    assert not Path("ravine-out").exists()


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        ([], {}, "There is no task: name at least one"),
        (["beale", "beale"], {}, "The task 'beale' is named twice"),
        (TASKS, {"data": "x"}, "data = 'x': several tasks do not share their data"),
        (TASKS, {"optimizers": ["sgd"]}, "at least two optimizers are compared: name another"),
        (["beale", "rosenbruck"], {}, "rosenbrock"),
    ],
)
def test_what_cannot_be_put_together(tasks, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=message):
        ravine.compare(tasks, **{"optimizers": ["sgd", "adam"], **SMALL, **options})
    assert not Path("ravine-out").exists()


def test_a_study_of_several_tasks_does_not_take_the_name_of_one(simply, call):
    ravine.compare("beale", ["sgd", "adam"], **SMALL, study="mine")
    with pytest.raises(OptionError, match="'mine' has one task: name another study for several"):
        ravine.compare(TASKS, ["sgd", "adam"], **SMALL, study="mine")
    assert Store("mine", "ravine-out/mine/study.journal").names() == ["mine"]
