"""A whole comparison with successive halving: the same with one worker or several, stopped and resumed, and told."""

import csv
import json

import pytest
from click.testing import CliRunner

import ravine
from ravine.cli._compare import command
from ravine.comparison import load_study
from ravine.comparison._study.trial import run
from ravine.comparison._study.trial_worker import work
from ravine.errors import OptionError

OPTIMIZERS = ["sgd", "adam", "sgd:lr=0.1"]
SMALL = {"points": 4, "seeds": 3, "steps": 24, "halving": True, "quiet": True}


def told(result):
    """Every training with all its digits, but not its seconds."""
    return sorted(
        (t.key(result.spec), r.score, r.steps, r.losses, sorted(r.metrics.items())) for t, r in result.record.trials
    )


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halved")
    result = ravine.compare("breast-cancer", OPTIMIZERS, jobs=1, out=folder, **SMALL)
    result.write()
    return result


@pytest.mark.slow  # trains, in two processes
def test_several_workers_find_the_same(halved, forked_workers, tmp_path):
    two = ravine.compare("breast-cancer", OPTIMIZERS, jobs=2, out=tmp_path, **SMALL)
    assert told(two) == told(halved)
    assert two.judgement.sentence == halved.judgement.sentence


@pytest.mark.slow  # trains
def test_a_study_that_was_stopped_goes_on_and_more_seeds_join_it(halved, tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    def until(most):
        def on_progress(now, results):
            if len(results) > most:
                raise Stopped

        return on_progress

    for most in (0, 30):  # among the first quarters, and after them
        monkeypatch.setattr(
            "ravine.comparison._run_study.work",
            lambda store, spec, task, _, optimizers, most=most: work(
                store, spec, task, until(most), optimizers=optimizers
            ),
        )
        with pytest.raises(Stopped):
            ravine.compare("breast-cancer", OPTIMIZERS, jobs=1, out=tmp_path, **SMALL)
    monkeypatch.undo()
    assert told(ravine.compare("breast-cancer", OPTIMIZERS, jobs=1, out=tmp_path, **SMALL)) == told(halved)
    with pytest.raises(OptionError, match="halving: True in the study, False now"):
        ravine.compare("breast-cancer", OPTIMIZERS, jobs=1, out=tmp_path, **{**SMALL, "halving": False})
    more = ravine.compare("breast-cancer", OPTIMIZERS, jobs=1, out=tmp_path, **{**SMALL, "seeds": 4})
    assert [len(each.runs) for each in more.record.runs][:2] == [4, 4]
    assert set(map(repr, told(halved))) <= set(map(repr, told(more)))


@pytest.mark.slow  # trains
def test_it_is_told(halved):
    kinds = {(t.label, t.kind) for t, _ in halved.record.trials}
    assert {(label, "short") for label in ("sgd", "adam")} <= kinds
    assert ("sgd:lr=0.1", "short") not in kinds
    results = json.loads((halved.folder / "results.json").read_text())
    assert results["spec"]["halving"] is True
    short = [t for t in results["trainings"] if t["kind"] == "short"]
    assert {t["steps"][-1] for t in short} == {6}
    points = {one["label"]: one["points"] for one in results["optimizers"]}
    assert len(short) == 3 * (points["sgd"] + points["adam"])
    with open(halved.folder / "results.csv", newline="") as file:
        assert sum(row["kind"] == "short" for row in csv.DictReader(file)) == len(short)
    for name in ("report.md", "report.html"):
        text = (halved.folder / name).read_text()
        assert "By successive halving" in text
        assert "--halving" in text
    assert "the best half after a quarter" in text, "in the declaration of the page"
    assert "--halving" in halved.record.origin.command
    for label, tried in halved.report.sensitivity["lr"].tried.items():
        (each,) = [one for one in halved.record.runs if one.name == label]
        assert len(tried.marks) == sum(not t.stopped for t in each.trials) < len(each.trials)
    for each in halved.record.runs[:2]:
        for seed, run_ in zip(sorted({t.seed for t in each.trials}), each.runs, strict=True):
            mine = [t for t in each.trials if t.seed == seed]
            assert sum(t.stopped or t.diverged for t in mine) >= len(mine) // 2
            (best,) = [t for t in mine if t.point == run_.point]
            assert not best.stopped
    again = load_study(halved.record.origin.study, out=halved.folder)
    assert told(again) == told(halved)


@pytest.mark.slow  # trains
def test_what_is_stored_is_what_a_training_gives_alone(halved):
    """Up to rounding, since those that are trained together are copies of one model."""
    task = ravine.tasks.find("breast-cancer")
    some = [(t, r) for t, r in halved.record.trials if t.kind == "short" and not r.diverged][:3]
    for trial, result in some:
        alone = run(halved.spec, task, trial, halved.record.optimizers[trial.label].for_task(task.name))
        assert alone.steps == result.steps
        assert alone.losses == pytest.approx(result.losses, rel=1e-3)


@pytest.mark.slow  # trains, on two tasks
def test_several_tasks_are_halved(tmp_path):
    both = ravine.compare(
        ["breast-cancer", "rosenbrock"], ["sgd", "adam"], points=4, seeds=3, steps=24, halving=True, quiet=True, jobs=1,
        out=tmp_path,
    )  # fmt: skip
    for result in both.tasks.values():
        assert result.spec.halving
        assert {t.kind for t, _ in result.record.trials} == {"short", "tune", "final"}
    assert "--halving" in both.command
    assert both.aggregate is not None
    assert set(both.aggregate.few_points) == {1, 2, 4}


def test_the_command_line_says_what_it_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["breast-cancer", "-o", "sgd", "-o", "adam", "--points", "8", "--jobs", "1", "--dry-run"]
    said = [CliRunner().invoke(command, [*options, *more]).output for more in ([], ["--halving"])]
    assert said[0].startswith("To the end, at 10 seeds: about 210 trainings")
    assert said[1].startswith("To the end, at 10 seeds: about 295 trainings"), "a quarter of them is whole"
