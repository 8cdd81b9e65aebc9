"""Trials that are trained together: the numbers do not depend on who is in a block, and are those of a training alone."""

import dataclasses
import math
import random

import pytest
import torch

from ravine.comparison._study.declare import declare
from ravine.comparison._study.stacked_task import WIDTH, stacked_task
from ravine.comparison._study.stages import stage
from ravine.comparison._study.trial import Trial, run
from ravine.comparison._study.trial_block import run_block
from ravine.optim._spec import parse
from ravine.tasks import find

LABELS = ("sgd", "adam", "adagrad", "torch-adamw", "rmsprop:clip_norm=1.0", "momentum:fused=False")


class Study:
    """A study with a task, its trials, and how they are run."""

    def __init__(self, name, labels=LABELS, **options):
        self.task, optimizers = find(name), [parse(label) for label in labels]
        self.spec = declare(self.task, name, optimizers, **{"preset": "quick", "steps": 21, **options})
        self.ready = {one.label: one.for_task(name) for one in optimizers}
        self.stacked = stacked_task(self.task)
        self.trials = list(stage(self.spec, {}).trials)

    def block(self, trials):
        return [told(result) for result in run_block(self.spec, self.stacked, trials, self.ready)]

    def alone(self, trial):
        return run(self.spec, self.task, trial, self.ready[trial.label])


def told(result):
    """All of a result but its seconds, with every digit."""
    return repr({**result.to_tree(), "seconds": 0})


@pytest.mark.parametrize(("name", "count"), [("ravine", 24), ("breast-cancer", 6), ("digits", 6)])
def test_a_trial_is_the_same_beside_any_others(name, count):
    study, draw = Study(name), random.Random(0)
    trials = draw.sample(study.trials, count)
    trials += [dataclasses.replace(trial, kind="final") for trial in trials[:6]]
    trials += [Trial("sgd", {"lr": 1e35}, seed, "tune") for seed in (0, 2)]  # neighbours that diverge
    trials += [Trial("momentum:fused=False", {"lr": 1e35}, 4, "tune")]
    expected = {id(trial): study.block([trial])[0] for trial in trials}
    assert len(set(expected.values())) == len(trials)
    for size in (2, 3, 7, 16, 31, WIDTH):
        some = draw.sample(trials, min(size, len(trials)))
        assert study.block(some) == [expected[id(trial)] for trial in some]


#: Every schedule on the task that trains in the shortest time, and each other task with and without one.
SCHEDULES = ["", "cosine", "exponential:0.5", "step:3,0.5", "warmup-cosine:0.25", {"*": "cosine", "adam": "linear:0.1"}]
SCHEDULED = [("breast-cancer", each) for each in SCHEDULES]
SCHEDULED += [(name, each) for name in ("digits", "ravine") for each in (SCHEDULES[0], SCHEDULES[-1])]


@pytest.mark.parametrize(("name", "schedule"), SCHEDULED)
def test_a_trial_is_up_to_rounding_the_training_of_a_learner(name, schedule):
    study = Study(name, schedule=schedule)
    trials = [Trial(label, {"lr": 0.01}, (0, 3)[i % 2], "final") for i, label in enumerate(LABELS)]
    for trial, result in zip(trials, run_block(study.spec, study.stacked, trials, study.ready), strict=True):
        expected = study.alone(trial)
        assert (result.steps, result.diverged, result.error) == (expected.steps, False, "")
        assert result.losses == pytest.approx(expected.losses, rel=1e-4)
        assert result.score == result.losses[-1]
        assert result.metrics.keys() == expected.metrics.keys()
        for metric in result.metrics:
            assert result.metrics[metric] == pytest.approx(expected.metrics[metric], rel=1e-3, abs=0.01)
        assert result.watch.keys() == expected.watch.keys()
        assert bool(result.watch) == (not trial.label.startswith("torch"))
        for p in result.watch:
            assert result.watch[p] == pytest.approx(expected.watch[p], rel=1e-3)
        assert 0 < result.seconds < 1


def test_a_trial_that_diverges_is_told_as_that_of_a_learner():
    study = Study("ravine", labels=("sgd", "momentum"), steps=60)
    trials = [Trial(label, {"lr": lr}, 1, "final") for label in study.ready for lr in (0.01, 3e1, 1e3, 1e30, 1e300)]
    found = run_block(study.spec, study.stacked, trials, study.ready)
    assert {len(result.steps) for result in found} > {len(found[0].steps)}, "they stop at different steps"
    for trial, result in zip(trials, found, strict=True):
        expected = study.alone(trial)
        assert (result.steps, result.diverged, result.metrics.keys()) == (
            expected.steps,
            expected.diverged,
            expected.metrics.keys(),
        )
        assert math.isinf(result.score) == result.diverged == (trial.point["lr"] > 100)
        assert result.losses == pytest.approx(expected.losses, rel=1e-9, nan_ok=True)
        assert result.watch == pytest.approx(expected.watch, rel=1e-9)


def test_random_states_are_left_as_they_are():
    study, before = Study("breast-cancer"), torch.get_rng_state()
    study.block(study.trials[:2])
    assert torch.equal(torch.get_rng_state(), before)


def test_test_data_are_not_read_while_tuning():
    study = Study("breast-cancer")
    task = study.task
    poisoned = dataclasses.replace(
        task, test=dataclasses.replace(task.test, inputs=torch.full_like(task.test.inputs, 9e9))
    )
    trials = study.trials[:3]
    clean = study.block(trials)
    study.stacked = stacked_task(poisoned)
    assert study.block(trials) == clean
    finals = [dataclasses.replace(trial, kind="final") for trial in trials]
    assert study.block(finals) != clean
