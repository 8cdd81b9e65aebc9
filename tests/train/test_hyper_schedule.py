"""The one-cycle is fastai's, and any hyperparameter may be a function of progress."""

import functools
import math

import numpy as np
import pytest
import torch
from schedule_runs import BATCHES, EPOCHS, STEPS, data, learner
from torch import nn
from torch.nn.functional import mse_loss
from torch.optim import lr_scheduler

from ravine import optim
from ravine.errors import OptionError
from ravine.train import (
    HyperSchedule,
    OneCycle,
    TorchScheduler,
)


def fastai(pct, start, middle, end, steps):
    """combined_cos of fastai's documentation: SchedCos twice, at (epoch + batch / batches) / epochs."""

    def cos(a, b, pos):
        return a + (1 + np.cos(np.pi * (1 - pos))) * (b - a) / 2

    pos = np.arange(steps) / steps
    return np.where(pos >= pct, cos(middle, end, (pos - pct) / (1 - pct)), cos(start, middle, pos / pct))


ADAM = functools.partial(optim.Adam, betas=(0.7, 0.999))
CYCLED = {
    "SGD": (functools.partial(optim.SGD, momentum=0.5, lr=0.1), "momentum", {}),
    "torch SGD": (functools.partial(torch.optim.SGD, momentum=0.5), "momentum", {"dampening": 0}),
    "Adam": (ADAM, "betas", {"eps": 1e-8}),
    "torch AdamW": (torch.optim.AdamW, "betas", {"weight_decay": 0.01}),
    "RMSprop": (optim.RMSprop, "alpha", {"momentum": 0}),
    "torch RMSprop": (torch.optim.RMSprop, "alpha", {"momentum": 0}),
    "RMSprop momentum": (functools.partial(optim.RMSprop, momentum=0.9), "momentum", {"alpha": 0.99}),
    "Adadelta": (optim.Adadelta, "rho", {"eps": 1e-6}),
    "SGD without": (torch.optim.SGD, None, {"momentum": 0}),
    "Adagrad": (torch.optim.Adagrad, None, {"lr_decay": 0}),
}


@pytest.mark.parametrize("name", CYCLED)
def test_one_cycle_is_fastais(name):
    make, momentum, constant = CYCLED[name]
    learn = learner(make)
    learn.fit_one_cycle(EPOCHS, 0.1)
    recorder = learn.recorder
    np.testing.assert_allclose(recorder.hyper("lr"), fastai(0.25, 0.1 / 25, 0.1, 0.1 / 1e5, STEPS), rtol=1e-12)
    moms = fastai(0.25, 0.95, 0.85, 0.95, STEPS)
    if momentum == "betas":
        np.testing.assert_allclose(recorder.hyper("betas")[:, 0], moms, rtol=1e-12)
        assert set(recorder.hyper("betas")[:, 1]) == {0.999}
    elif momentum:
        np.testing.assert_allclose(recorder.hyper(momentum), moms, rtol=1e-12)
    for other in set(recorder.hyper_names) - {"lr", momentum}:
        assert len(set(recorder.hyper(other).ravel())) == 1
    for other, value in constant.items():
        assert set(recorder.hyper(other)) == {value}


def test_one_cycle_really_trains_with_its_values():
    learn = learner(functools.partial(optim.SGD, momentum=0.5))
    learn.fit_one_cycle(EPOCHS, 0.05, div=10, div_final=100, pct_start=0.4, moms=(0.9, 0.7, 0.8))
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.5)
    lrs, moms = fastai(0.4, 0.005, 0.05, 0.0005, STEPS), fastai(0.4, 0.9, 0.7, 0.8, STEPS)
    for (inputs, targets), lr, momentum in zip(data() * EPOCHS, lrs, moms, strict=True):
        optimizer.param_groups[0] |= {"lr": float(lr), "momentum": float(momentum)}
        optimizer.zero_grad()
        mse_loss(model(inputs), targets).backward()
        optimizer.step()
    torch.testing.assert_close(learn.model.weight, model.weight)


def test_the_highest_rate_has_the_name_that_fit_uses():
    named, placed = learner(), learner()
    named.fit_one_cycle(2, lr=0.1)
    placed.fit_one_cycle(2, 0.1)
    assert named.recorder.hyper("lr").tolist() == placed.recorder.hyper("lr").tolist()
    with pytest.raises(OptionError, match=r"fit_one_cycle has no lr_max; the highest rate is lr"):
        learner().fit_one_cycle(2, lr_max=0.1)
    with pytest.raises(
        OptionError, match=r"fit_one_cycle needs the highest learning rate: fit_one_cycle\(2, lr=0.01\)"
    ):
        learner().fit_one_cycle(2)


def test_momentum_may_be_left_alone():
    learn = learner()
    learn.fit_one_cycle(1, 0.1, moms=None)
    assert set(learn.recorder.hyper("momentum")) == {0.9}


def average(param, avg=0.0, *, grad, lr, mom):
    avg = mom * avg + grad
    return param - lr * avg, avg


def test_the_cycle_moves_the_momentum_of_a_formula_of_ones_own():
    """fastai's Optimizer has ``mom``, and its fit_one_cycle moves that."""
    learn = learner(functools.partial(optim.Optimizer, pieces=[average], mom=0.9))
    learn.fit_one_cycle(EPOCHS, 0.1, moms=(0.9, 0.7, 0.8))
    np.testing.assert_allclose(learn.recorder.hyper("mom"), fastai(0.25, 0.9, 0.7, 0.8, STEPS), rtol=1e-12)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            optim.Adagrad,
            "moms: Adagrad has no momentum, so there is nothing to move. Leave moms out, or .*HyperSchedule",
        ),
        (optim.SGD, r"SGD has its momentum switched off.*SGD\(params, lr, momentum=0.9\)"),
    ],
)
def test_momenta_that_are_given_and_cannot_be_used(made, message):
    with pytest.raises(OptionError, match=message):
        learner(made).fit_one_cycle(1, 0.1, moms=(0.95, 0.85, 0.95))
    learner(made).fit_one_cycle(1, 0.1)


def test_fits_after_a_cycle():
    learn = learner()
    learn.fit_one_cycle(EPOCHS, 0.1)
    learn.fit_one_cycle(2, 0.2)
    learn.fit(1, 0.3)
    expected = [fastai(0.25, 0.1 / 25, 0.1, 1e-6, STEPS), fastai(0.25, 0.2 / 25, 0.2, 2e-6, 6), [0.3] * 3]
    np.testing.assert_allclose(learn.recorder.hyper("lr"), np.concatenate(expected), rtol=1e-12)
    expected = [fastai(0.25, 0.95, 0.85, 0.95, STEPS), fastai(0.25, 0.95, 0.85, 0.95, 6)]
    np.testing.assert_allclose(learn.recorder.hyper("momentum")[:-3], np.concatenate(expected), rtol=1e-12)


def test_a_cycle_may_be_used_for_another_optimizer():
    cycle = OneCycle(0.1)
    learner().fit(1, schedule=cycle)
    learn = learner(optim.RMSprop)
    learn.fit(1, schedule=cycle)
    assert set(learn.recorder.hyper("momentum")) == {0.0}
    assert learn.recorder.hyper("alpha")[0] == 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr 0: a learning rate is a finite number above 0"),
        ({"lr": "big"}, "lr 'big'"),
        ({"div": 0}, "div 0: .* give a number above 0"),
        ({"div_final": math.nan}, "div_final nan"),
        ({"div": "25"}, "div '25'"),
        ({"pct_start": 1}, "pct_start 1: it is a share of the run"),
        ({"pct_start": None}, "pct_start None"),
        ({"moms": (0.9, 0.8)}, "give three numbers"),
        ({"moms": 0.9}, "moms 0.9: give three numbers"),
        ({"moms": (0.9, 0.8, 1.0)}, "moms .* give three numbers from 0 up to 1"),
        ({"moms": ("a", 0.8, 0.9)}, "give three numbers"),
    ],
)
def test_impossible_cycles(options, message):
    with pytest.raises(OptionError, match=message):
        OneCycle(**{"lr": 0.1, **options})


def test_any_hyperparameter_over_the_run():
    learn = learner(functools.partial(optim.Adam, weight_decay=0.1))
    learn.fit(
        2,
        schedule=HyperSchedule(
            {"betas[0]": lambda p: 0.5 + p / 4, "betas[1]": lambda p: 0.9}, lr=lambda p: 0.1 * (1 - p), weight_decay=abs
        ),
    )
    progress = np.arange(6) / 6
    np.testing.assert_allclose(learn.recorder.hyper("lr"), 0.1 * (1 - progress))
    np.testing.assert_allclose(learn.recorder.hyper("weight_decay"), progress)
    np.testing.assert_allclose(learn.recorder.hyper("betas"), np.stack([0.5 + progress / 4, np.full(6, 0.9)], axis=1))


def test_a_rate_in_a_tensor_is_changed_in_place():
    rate = torch.tensor(0.5, dtype=torch.float64)
    learn = learner(functools.partial(torch.optim.SGD, lr=rate, foreach=False))
    learn.fit(1, schedule=HyperSchedule(lr=lambda p: 0.25))
    assert learn.optimizer.param_groups[0]["lr"] is rate
    assert learn.recorder.hyper("lr").tolist() == [0.25] * BATCHES


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"momentun": abs}, "no hyperparameter 'momentun'. Did you mean 'momentum'"),
        ({"params": abs}, "no hyperparameter 'params'"),
        ({"betas[0]": abs}, "no hyperparameter 'betas'"),
        ({"lr[0]": abs}, r"no 'lr\[0\]': its lr is 0.02"),
        ({"lr[": abs}, r"'lr\[' is not a name; write"),
        ({"lr[x]": abs}, "is not a name"),
        ({"lr": 0.1}, "lr is 0.1; it must be a function of progress"),
        ({}, "HyperSchedule needs a function"),
    ],
)
def test_what_cannot_be_scheduled(functions, message):
    learn = learner()
    with pytest.raises(OptionError, match=message):
        learn.fit(1, schedule=HyperSchedule(functions))
    assert len(learn.recorder) == 0


def test_a_place_that_a_tuple_does_not_have():
    learn = learner(optim.Adam)
    with pytest.raises(OptionError, match=r"no 'betas\[2\]': its betas is \(0.9, 0.999\)"):
        learn.fit(1, schedule=HyperSchedule({"betas[2]": abs}))


def test_a_rate_that_the_schedule_overrules_is_refused():
    learn = learner()
    with pytest.raises(OptionError, match="lr=0.3 has no effect, because .* leave it out"):
        learn.fit(1, 0.3, HyperSchedule(lr=lambda p: 0.1))
    learn.fit(1, 0.3, HyperSchedule(momentum=lambda p: 0.1))
    assert set(learn.recorder.hyper("lr")) == {0.3}


def test_a_schedule_over_the_run_needs_its_length():
    class Endless:
        def __iter__(self):
            return iter(data())

    learn = learner(train=Endless())
    for schedule in (
        HyperSchedule(lr=abs),
        OneCycle(0.1),
        TorchScheduler(lr_scheduler.CosineAnnealingLR, length="T_max"),
    ):
        with pytest.raises(OptionError, match=r"no len\(\)"):
            learn.fit(1, schedule=schedule)
    learn.fit(2, schedule=TorchScheduler(lr_scheduler.StepLR, 1, 0.5))
    assert learn.recorder.hyper("lr").tolist() == [0.02 * 0.5**i for i in range(6)]
