"""Who runs together, and that a failure is that of its trial only."""

import dataclasses
import random

import pytest
import torch
from torch import nn

from ravine.comparison._study import trial_runner
from ravine.comparison._study.declare import declare
from ravine.comparison._study.stacked_task import WIDTH, stacked_task
from ravine.comparison._study.stages import stage
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.optim import SGD, Adam
from ravine.optim._spec_objects import specs_of
from ravine.optim.search import log
from ravine.tasks import find


class Noisy(torch.optim.SGD):
    """An optimizer that draws random numbers."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad += torch.randn_like(p)
        return super().step(closure)


class Own(SGD):
    """One of ours with a step of its own."""

    def step(self, closure=None):
        return super().step(closure)


class Refusing(Adam):
    """One that cannot be made at some rates."""

    def __init__(self, params, lr=1e-3):
        if lr > 0.1:
            raise ValueError("planted")
        super().__init__(params, lr=lr)


def runner_of(optimizers, name="breast-cancer", task=None, **options):
    task = task or find(name)
    parsed = specs_of(optimizers, task.name)
    spec = declare(task, name, parsed, **{"preset": "quick", "steps": 5, **options})
    made = TrialRunner(spec, task, {one.label: one.for_task(task.name) for one in parsed})
    return made, list(stage(spec, {}).trials)


def told(results):
    return [repr({**result.to_tree(), "seconds": 0}) for result in results]


def test_ours_and_torchs_run_together():
    runner, trials = runner_of(["sgd", "lion", "torch-adam", "rmsprop:clip_norm=1"])
    assert runner.next_block(trials) == trials[:WIDTH]
    assert len({trial.label for trial in runner.next_block(trials)}) == 4
    assert runner.next_block(trials[:3]) == trials[:3]
    assert runner.next_block([]) == []


def test_an_optimizer_of_the_users_own_runs_alone():
    runner, trials = runner_of({"noisy": Noisy, "own": Own, "sgd": SGD}, points=2)
    assert [runner.together(label) for label in ("noisy", "own", "sgd")] == [False, False, True]
    assert runner.next_block(trials) == trials[:1]
    assert {trial.label for trial in runner.next_block(trials[-1:] + trials)} == {"sgd"}
    noisy = [trial for trial in trials if trial.label == "noisy"][:1]
    assert told(runner.run(noisy)) == told(runner.run(noisy)), "its random numbers are those of the seed"


def test_one_that_evaluates_the_batch_again_runs_alone():
    runner, trials = runner_of(["torch-lbfgs"], points=1)
    assert not runner.together("torch-lbfgs")
    assert not runner.run(trials[:1])[0].error


def test_a_model_that_draws_random_numbers_is_trained_alone():
    task = dataclasses.replace(find("breast-cancer"), model=lambda: nn.Sequential(nn.Dropout(), nn.Linear(30, 1)))
    runner, trials = runner_of(["sgd"], task=task)
    assert runner.next_block(trials) == trials[:1]
    assert told(runner.run(trials[:1])) == told(runner.run(trials[:1]))


def test_a_failure_is_that_of_its_trial():
    runner, trials = runner_of({"sgd": SGD, "refusing": Refusing}, space={"refusing": {"lr": log(1e-3, 1.0)}})
    some = trials[:WIDTH]
    assert runner.next_block(trials) == some
    results = runner.run(some)
    failed = [trial.label == "refusing" and trial.point["lr"] > 0.1 for trial in some]
    assert 0 < sum(failed) < WIDTH
    assert [bool(result.error) for result in results] == failed
    assert all("planted" in result.error for result, bad in zip(results, failed, strict=True) if bad)
    assert told(results) == told([runner.run([trial])[0] for trial in some])


def test_ctrl_c_is_no_failure(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    runner, trials = runner_of(["sgd"])
    monkeypatch.setattr(trial_runner, "run_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(trials[:2])


def test_the_task_is_tried_once(monkeypatch):
    tried = []
    monkeypatch.setattr(trial_runner, "stacked_task", lambda task: tried.append(task))
    runner, trials = runner_of(["sgd", "adam"])
    runner.next_block(trials)
    runner.run(trials[:1])
    assert len(tried) == 1


def test_one_with_a_plateau_waits_for_its_own_loss_alone():
    runner, trials = runner_of(["sgd", "adam"], schedule={"*": "cosine", "adam": "plateau:0,0.5"})
    assert runner.together("sgd")
    assert not runner.together("adam")
    assert {trial.label for trial in runner.next_block(trials)} == {"sgd"}


def test_what_happens_around_a_step_happens_where_it_runs_alone():
    def clipped(params, lr=0.1):
        made = SGD(params, lr=lr)
        made.register_step_post_hook(lambda *_: None)
        return made

    runner, _ = runner_of({"clipped": clipped, "plain": SGD})
    assert runner.together("plain")
    assert not runner.together("clipped")


def test_only_losses_that_add_up_and_models_without_chance_are_trained_together():
    digits, network = find("digits"), lambda: nn.Linear(64, 10)
    weighted = nn.CrossEntropyLoss(weight=torch.arange(1.0, 11.0))

    class Chance(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) * (random.random() < 2)

    def stacked(**changes):
        return stacked_task(dataclasses.replace(digits, **{"model": network, **changes}))

    assert stacked() is not None
    assert stacked(loss=weighted) is None, "the mean over rows weighs them by their classes"
    assert stacked(loss=lambda a, b: nn.functional.cross_entropy(a, b, reduction="sum")) is None
    assert stacked(model=lambda: Chance(64, 10)) is None
    wide = dataclasses.replace(digits.train, inputs=torch.zeros(len(digits.train), 4096))
    assert stacked(train=wide, model=lambda: nn.Linear(4096, 10)) is None, (
        "copies would read 12 million numbers at once"
    )


@pytest.mark.parametrize("optimizers", [["sgd", "adam"], [Noisy]])
def test_a_trial_that_is_ended_makes_no_more_steps_and_its_neighbours_do(optimizers):
    runner, trials = runner_of(optimizers, steps=20)
    first, second = trials[:2]
    asked = []
    results = runner.run([first, second], lambda trial: trial is first and (asked.append(trial) or len(asked) >= 7))
    every = told(runner.run([second]))
    assert 0 < results[0].steps[-1] < 8 <= results[1].steps[-1] == 20
    assert told(results[1:]) == every
