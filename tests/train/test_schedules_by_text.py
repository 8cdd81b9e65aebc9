"""Schedules by text, and what is refused as a schedule."""

import math

import numpy as np
import pytest
import torch
from schedule_runs import BATCHES, EPOCHS, STEPS, data, learner
from torch.optim import lr_scheduler

from ravine.errors import OptionError
from ravine.train import (
    ReduceOnPlateau,
    TorchScheduler,
)
from ravine.train._schedules.by_text import parse, usage


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step:800,0.9", "TorchScheduler(StepLR, step_size=800, gamma=0.9, every='step')"),
        ("step:800", "TorchScheduler(StepLR, step_size=800, gamma=0.1, every='step')"),
        (
            " plateau: 5 , 0.7 ",
            "ReduceOnPlateau(patience=5, factor=0.7, mode='min', monitor='valid_loss')",
        ),
        ("plateau", "ReduceOnPlateau(patience=10, factor=0.1, mode='min', monitor='valid_loss')"),
        ("cosine", "TorchScheduler(CosineAnnealingLR, eta_min=0.0, every='step', length='T_max')"),
        ("cosine:1e-5", "TorchScheduler(CosineAnnealingLR, eta_min=1e-05, every='step', length='T_max')"),
        (
            "linear:0.1",
            "TorchScheduler(LinearLR, start_factor=1.0, end_factor=0.1, every='step', length='total_iters')",
        ),
        ("exponential:0.5", "TorchScheduler(ExponentialLR, gamma=0.5, every='epoch')"),
    ],
)
def test_schedules_by_text(text, said):
    assert repr(parse(text)) == said


def test_schedules_by_text_move_the_rate():
    for text, expected in {
        "step:4,0.5": [0.1] * 4 + [0.05] * 4 + [0.025] * 4,
        "cosine:0.02": 0.02 + 0.04 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)),
        "linear:0.4": 0.1 * (1 - 0.6 * np.arange(STEPS) / STEPS),
        "exponential:0.5": np.repeat([0.1, 0.05, 0.025, 0.0125], BATCHES),
        "constant": [0.1] * STEPS,
    }.items():
        learn = learner()
        learn.fit(EPOCHS, 0.1, text)
        assert learn.recorder.hyper("lr") == pytest.approx(np.array(expected)), text


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.99])
def test_after_a_warmup_the_rate_stays_or_falls(share):
    """Against the lines of a usual implementation, counted from the first step, which is not taken with a rate of 0."""
    warm, step = max(1, round(share * STEPS)), np.arange(STEPS)
    rising, rest = (step + 1) / warm, (step - warm) / max(1, STEPS - warm)
    for name, falling in {
        "warmup": np.ones(STEPS),
        "warmup-cosine": 0.5 * (1 + np.cos(np.pi * rest)),
        "warmup-linear": 1 - rest,
    }.items():
        learn = learner()
        learn.fit(EPOCHS, 0.1, f"{name}:{share}")
        expected = 0.1 * np.where(step < warm, rising, falling)
        assert learn.recorder.hyper("lr") == pytest.approx(expected, abs=1e-12), name


def test_a_schedule_over_a_run_that_ends_within_an_epoch():
    learn, steps = learner(), STEPS - 2
    schedule = parse("cosine")
    learn.fit(EPOCHS, 0.1, schedule.over(steps))
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(steps) / steps))
    assert learn.recorder.hyper("lr")[:steps] == pytest.approx(expected, abs=1e-12)
    assert parse("step:4").over(steps).kwargs == {"step_size": 4, "gamma": 0.1}, "it knows no length"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpe:1", "no schedule 'stpe'. Did you mean 'step'.* Write step:SIZE,GAMMA"),
        ("", "no schedule ''"),
        ("step", "an argument is missing; write step:SIZE,GAMMA"),
        ("exponential:", "an argument is missing; write exponential:GAMMA"),
        ("step:800,0.9,3", "has 3 arguments; write step:SIZE,GAMMA"),
        ("cosine:1,2", "has 2 arguments; write cosine:FINAL"),
        ("step:8.5", "size is '8.5', not a whole number"),
        ("step:800,fast", "gamma is 'fast', not a number"),
        ("step:800,", "gamma is '', not a number"),
        ("step:0", "size is 0; it must be at least 1"),
        ("step:800,-0.5", "gamma is -0.5; it must be at least 0"),
        ("step:800,nan", "gamma is nan"),
        ("cosine:inf", "final is inf"),
        ("plateau:-1", "patience is -1; it must be at least 0"),
        ("plateau:5,1.5", "factor is 1.5; it must be below 1"),
        ("warmup:1", "share is 1; it is a share of the run, between 0 and 1"),
        ("warmup-cosine:0", "share is 0; it is a share of the run"),
        ("warmup_cosine:0.1", "no schedule 'warmup_cosine'. Did you mean 'warmup-cosine'"),
        ("constant:0.1", "has 1 argument; write constant"),
    ],
)
def test_texts_that_are_no_schedule(text, message):
    learn = learner(valid=data(1))
    with pytest.raises(OptionError, match=message):
        learn.fit(1, schedule=text)
    assert len(learn.recorder) == 0


def test_every_text_is_listed_and_works():
    values = {"SIZE": "1", "SHARE": "0.5", "PATIENCE": "0", "FACTOR": "0.5", "FINAL": "0", "GAMMA": "0.5"}
    for form in usage():
        name, _, arguments = form.partition(":")
        text = f"{name}:{','.join(values[a] for a in arguments.split(','))}" if arguments else name
        learner(valid=data(1)).fit(1, 0.1, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exponential:0", "gamma is 0; it must be above 0: a rate of 0 trains nothing"),
        ("step:2,0", "gamma is 0; it must be above 0"),
        ("plateau:2,0", "factor is 0; it must be above 0"),
        ("exponential:inf", "gamma is inf; it must be a finite number"),
        ("linear:2", "final is 2; it is a fraction of the rate that the run begins with, at most 1"),
        ("cosine:0.5", "final is 0.5, and the rate begins at 0.1; final is the rate at the end, not a fraction"),
        ("one-cycle", r"it is learn.fit_one_cycle\(epochs, lr\), or schedule=OneCycle\(lr\)"),
        ("one_cycle:0.1", "fit_one_cycle"),
    ],
)
def test_texts_that_leave_no_rate_or_mean_another(text, message):
    learn = learner(valid=data(1))
    with pytest.raises(OptionError, match=message):
        learn.fit(1, 0.1, text)
    assert len(learn.recorder) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TorchScheduler(lr_scheduler.StepLR, 0),
            "StepLR: step_size is 0; it must be a whole number, at least 1",
        ),
        (lambda: TorchScheduler(lr_scheduler.StepLR, 2.5), "step_size is 2.5"),
        (lambda: TorchScheduler(lr_scheduler.StepLR, 2, 0), "StepLR: gamma is 0; .* the rate is multiplied by it"),
        (lambda: TorchScheduler(lr_scheduler.ExponentialLR, gamma=-0.5), "ExponentialLR: gamma is -0.5"),
        (lambda: TorchScheduler(lr_scheduler.MultiStepLR, [2], gamma=math.nan), "gamma is nan"),
        (lambda: TorchScheduler(lr_scheduler.CosineAnnealingLR, T_max=0), "T_max is 0"),
        (lambda: ReduceOnPlateau(-1), "ReduceOnPlateau: patience is -1; it must be a whole number, at least 0"),
        (lambda: ReduceOnPlateau("2"), "patience is '2'"),
        (lambda: ReduceOnPlateau(True), "patience is True"),
        (lambda: ReduceOnPlateau(2, 0.0), "factor is 0.0"),
        (lambda: ReduceOnPlateau(2, -0.1), "factor is -0.1"),
    ],
)
def test_schedulers_of_impossible_values(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            lambda o: lr_scheduler.StepLR(o, 1),
            r"Wrap torch's scheduler, without the optimizer.* TorchScheduler\(StepLR, ...\) for every step",
        ),
        (lambda o: lr_scheduler.StepLR, r"say when it moves: TorchScheduler\(StepLR, ...\) for every step"),
        (lambda o: 0.9, "The schedule is a float; give a TorchScheduler"),
        (lambda o: TorchScheduler, "The schedule is a type; give a TorchScheduler"),
        (lambda o: TorchScheduler(lambda optimizer: None), "made a NoneType, which is not a scheduler"),
        (
            lambda o: TorchScheduler(lr_scheduler.StepLR),
            r"TorchScheduler\(StepLR, every='step'\) cannot be made: .*step_size",
        ),
        (lambda o: TorchScheduler(lr_scheduler.OneCycleLR, 0.1), "cannot be made: .*total_steps"),
        (
            lambda o: TorchScheduler(lr_scheduler.ReduceLROnPlateau, patience=1, every="epoch"),
            "no loss to go by; write ReduceOnPlateau",
        ),
        (
            lambda o: ReduceOnPlateau(2, monitor="acuracy"),
            "ReduceOnPlateau watches 'acuracy'.* Known: epoch, time, train_loss",
        ),
        (lambda o: ReduceOnPlateau(2), "ReduceOnPlateau watches 'valid_loss'.* There is no validation data"),
        (lambda o: ReduceOnPlateau(2, monitor="train_loss", facto=0.5), "cannot be made: .*facto"),
    ],
)
def test_what_is_no_schedule(schedule, message):
    learn = learner(torch.optim.SGD)
    weights = learn.model.weight.clone()
    with pytest.raises(OptionError, match=message):
        learn.fit(1, schedule=schedule(torch.optim.SGD([torch.zeros(1)])))
    assert len(learn.recorder) == 0
    assert learn.recorder.epochs == []
    assert torch.equal(learn.model.weight, weights)


@pytest.mark.parametrize("wrong", [lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)]), 1), "StepLR", None])
def test_a_schedule_is_made_from_a_class(wrong):
    with pytest.raises(
        OptionError, match=r"not a scheduler's class.* TorchScheduler\(StepLR, step_size=800, gamma=0.9\)"
    ):
        TorchScheduler(wrong)
