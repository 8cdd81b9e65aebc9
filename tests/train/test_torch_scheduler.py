"""The rates that are used are those of torch's schedulers in a plain loop, and of its plateau."""

import functools
import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_runs import BATCHES, EPOCHS, STEPS, FakeLosses, data, learner
from torch import nn
from torch.nn.functional import mse_loss
from torch.optim import lr_scheduler

from ravine import optim
from ravine.train import (
    GradientAccumulation,
    ReduceOnPlateau,
    TorchScheduler,
)
from ravine.train._schedules.by_text import parse

SCHEDULERS = {
    name: found
    for name, found in vars(lr_scheduler).items()
    if inspect.isclass(found)
    and issubclass(found, lr_scheduler.LRScheduler)
    and not name.startswith("_")
    and found not in (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)
}

ARGUMENTS = {
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.9 + epoch / 100},
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "MultiStepLR": {"milestones": [1, 3, 7]},
    "ConstantLR": {"factor": 0.5, "total_iters": 3},
    "LinearLR": {"total_iters": 3},
    "ExponentialLR": {"gamma": 0.8},
    "PolynomialLR": {"total_iters": 3, "power": 2},
    "CosineAnnealingLR": {"T_max": 5, "eta_min": 1e-3},
    "CyclicLR": {"base_lr": 1e-3, "max_lr": 1e-2, "step_size_up": 2},
    "CosineAnnealingWarmRestarts": {"T_0": 2, "T_mult": 2},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": STEPS},
}


def sequential(optimizer):
    first, then = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2), lr_scheduler.ExponentialLR(optimizer, 0.5)
    return lr_scheduler.SequentialLR(optimizer, [first, then], milestones=[2])


def chained(optimizer):
    return lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(optimizer, 0.5, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    )


MADE_BY = {"SequentialLR": sequential, "ChainedScheduler": chained}


def plain_loop(make, per_step, opt_func, epochs=EPOCHS):
    """The hyperparameters of every step of a loop that is written by hand."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = opt_func(model.parameters())
    scheduler, used = make(optimizer), []
    for _ in range(epochs):
        for inputs, targets in data():
            optimizer.zero_grad()
            mse_loss(model(inputs), targets).backward()
            used.append([(group["lr"], group.get("momentum")) for group in optimizer.param_groups])
            optimizer.step()
            if per_step:
                scheduler.step()
        if not per_step:
            scheduler.step()
    return used, model


@pytest.mark.parametrize("per_step", [True, False], ids=["step", "epoch"])
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("library", [torch.optim, optim], ids=["torch", "ours"])
def test_every_scheduler_of_torch(name, per_step, library):
    def opt_func(parameters):
        weight, bias = parameters
        return library.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.05}], lr=0.02, momentum=0.9)

    make = MADE_BY.get(name) or functools.partial(SCHEDULERS[name], **ARGUMENTS[name])
    expected, model = plain_loop(make, per_step, opt_func)
    learn = learner(opt_func)
    learn.fit(EPOCHS, schedule=TorchScheduler(make, every="step" if per_step else "epoch"))
    for number, group in enumerate(("", "/1")):
        lrs, momenta = zip(*(step[number] for step in expected), strict=True)
        assert learn.recorder.hyper("lr" + group).tolist() == list(lrs)
        assert learn.recorder.hyper("momentum" + group).tolist() == list(momenta)
    assert len({step[0] for step in expected}) > 1
    assert torch.equal(learn.model.weight, model.weight)


def test_arguments_may_be_given_to_the_schedule():
    make = functools.partial(torch.optim.SGD, lr=0.02)
    expected, _ = plain_loop(lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5), True, make)
    for schedule in (
        TorchScheduler(lr_scheduler.StepLR, 2, gamma=0.5),
        TorchScheduler(lr_scheduler.StepLR, step_size=2, gamma=0.5),
    ):
        learn = learner(make)
        learn.fit(EPOCHS, schedule=schedule)
        assert learn.recorder.hyper("lr").tolist() == [step[0][0] for step in expected]


@pytest.mark.parametrize(("every", "steps"), [("step", STEPS), ("epoch", EPOCHS)])
def test_the_length_of_the_run_is_filled_in(every, steps):
    learn = learner()
    learn.fit(EPOCHS, 0.1, TorchScheduler(lr_scheduler.CosineAnnealingLR, every=every, length="T_max"))
    expected = [0.05 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]
    assert learn.recorder.hyper("lr") == pytest.approx(np.repeat(expected, STEPS // steps))
    assert learn.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("batches", [2, 3, 5])
def test_with_accumulation_the_length_counts_steps_and_not_batches(batches):
    learn = learner()
    learn.fit(
        2,
        0.1,
        TorchScheduler(lr_scheduler.CosineAnnealingLR, length="T_max"),
        callbacks=[GradientAccumulation(batches)],
    )
    steps = 2 * math.ceil(BATCHES / batches)
    assert learn.state.step == steps
    assert learn.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    assert len(set(learn.recorder.hyper("lr"))) == steps


def test_a_second_fit_begins_its_schedule_anew():
    learn = learner()
    halved = TorchScheduler(lr_scheduler.ExponentialLR, gamma=0.5, every="epoch")
    learn.fit(2, 0.1, halved)
    learn.fit(2, 0.4, halved)
    learn.fit(2, schedule=halved)
    learn.fit(1)
    expected = [0.1, 0.05, 0.4, 0.2, 0.1, 0.05, 0.025]
    assert learn.recorder.hyper("lr")[::BATCHES] == pytest.approx(expected)
    learn.fit(2, 0.8, TorchScheduler(lr_scheduler.LambdaLR, lambda epoch: 0.5**epoch, every="epoch"))
    assert learn.recorder.hyper("lr")[7 * BATCHES :: BATCHES] == pytest.approx([0.8, 0.4])


def of_torch(values, lr=0.01, **options):
    """The rate after each epoch, by torch's own scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = lr_scheduler.ReduceLROnPlateau(optimizer, **options), []
    for value in values:
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


losses = st.lists(st.floats(0, 2) | st.sampled_from([1.0, math.nan, math.inf]), min_size=2, max_size=12)


@settings(max_examples=30, deadline=None)
@given(losses, st.integers(0, 3), st.integers(0, 2), st.sampled_from(["min", "max"]))
def test_on_plateau_equals_torchs_and_counts_as_it_does(values, patience, cooldown, mode):
    options = {"patience": patience, "factor": 0.7, "cooldown": cooldown, "mode": mode}
    learn = learner(valid=data(1), train=data(1))
    learn.fit(len(values), 0.01, ReduceOnPlateau(**options), callbacks=[FakeLosses(values)])
    expected = of_torch(values, **options)
    assert learn.recorder.hyper("lr").tolist() == [0.01, *expected[:-1]]
    before, said = 0.01, []
    for epoch, rate in enumerate(expected, 1):
        if rate != before:
            epochs = "1 epoch" if patience == 0 else f"{patience + 1} epochs"
            said.append(f"epoch {epoch}: valid_loss has not improved for {epochs}: lr {before:.4g} -> {rate:.4g}")
        before = rate
    assert [sentence for _, sentence in learn.recorder.notes] == said


def test_a_plateau_has_one_default_that_of_torch():
    theirs = inspect.signature(lr_scheduler.ReduceLROnPlateau).parameters
    for made in (ReduceOnPlateau(), parse("plateau")):
        assert {name: made.kwargs[name] for name in ("patience", "factor")} == {
            name: theirs[name].default for name in ("patience", "factor")
        }


def test_the_sentence_of_a_plateau(capsys):
    values = [3, 2, 2, 2, 2, 2, 2]
    learn = learner(valid=data(1))
    learn.quiet = False
    learn.fit(7, 0.01, ReduceOnPlateau(patience=4, factor=0.7), callbacks=[FakeLosses(values)])
    sentence = "epoch 7: valid_loss has not improved for 5 epochs: lr 0.01 -> 0.007"
    assert learn.recorder.notes == [(7 * BATCHES, sentence)]
    assert capsys.readouterr().out.splitlines()[-2] == sentence


def test_a_plateau_goes_by_the_real_validation_losses():
    learn = learner(valid=data(2, seed=1))
    learn.fit(12, 0.5, ReduceOnPlateau(1, 0.5, threshold=0.0))
    expected = of_torch(learn.recorder.column("valid_loss"), 0.5, patience=1, factor=0.5, threshold=0.0)
    assert learn.recorder.hyper("lr")[BATCHES::BATCHES].tolist() == expected[:-1]
    assert expected[-1] < 0.5


def test_a_plateau_of_a_metric_is_one_that_does_not_rise():
    values = [0.5, 0.6, 0.7, 0.7, 0.6]
    learn = learner(valid=data(1))
    learn.metrics = {"share": lambda outputs, targets: 0.5}
    learn.fit(5, 0.01, ReduceOnPlateau(0, 0.1, monitor="share"), callbacks=[FakeLosses(values, "share")])
    assert learn.recorder.hyper("lr")[::BATCHES] == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.001])
    assert [n for _, n in learn.recorder.notes] == [
        "epoch 4: share has not improved for 1 epoch: lr 0.01 -> 0.001",
        "epoch 5: share has not improved for 1 epoch: lr 0.001 -> 0.0001",
    ]


def test_a_plateau_lowers_every_group_and_says_each_change_once():
    def make(parameters):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.5}], lr=0.25)

    learn = learner(make, valid=data(1))
    learn.fit(2, schedule=ReduceOnPlateau(0, 0.5), callbacks=[FakeLosses([1, 1])])
    assert learn.recorder.notes[0][1].endswith("for 1 epoch: lr 0.25 -> 0.125, 0.5 -> 0.25")
