"""The rate of a fit: one for each group, the optimizer's own said aloud, and as it was after a cycle."""

from functools import partial

import numpy as np
import pytest
import torch
from schedule_runs import BATCHES, data, learner
from torch import nn
from torch.nn.functional import mse_loss

from ravine.errors import FormulaError, OptionError
from ravine.optim import Adam, Optimizer, RMSprop
from ravine.train import HyperSchedule, Learner


def two_groups(cls=Adam, **options):
    """Makes an optimizer whose weight and bias have rates of their own."""

    def make(parameters):
        weight, bias = parameters
        return cls([{"params": [weight], "lr": 1e-4}, {"params": [bias], "lr": 1e-2}], **options)

    return make


def descend(param, *, grad, lr, beta):
    """A formula with a rate that nothing gives by itself."""
    return param - lr * beta * grad


@pytest.mark.parametrize("cls", [Adam, torch.optim.Adam])
def test_every_group_gets_its_own_rate(cls):
    learn = learner(two_groups(cls))
    learn.fit(1, [1e-3, 1e-1])
    assert set(learn.recorder.hyper("lr")) == {1e-3}
    assert set(learn.recorder.hyper("lr/1")) == {1e-1}


@pytest.mark.parametrize("cls", [Adam, torch.optim.Adam])
def test_one_cycle_of_two_groups_is_that_of_torch_for_each(cls):
    learn = learner(two_groups(cls))
    learn.fit_one_cycle(4, [1e-4, 1e-2], div=20, div_final=1e3, pct_start=0.5, moms=None)
    own, head = learn.recorder.hyper("lr"), learn.recorder.hyper("lr/1")
    at = np.arange(4 * BATCHES) / (4 * BATCHES)
    up, down = 1e-4 / 20, 1e-4 / 1e3
    expected = np.where(
        at < 0.5,
        up + (1e-4 - up) * (1 - np.cos(np.pi * at / 0.5)) / 2,
        1e-4 + (down - 1e-4) * (1 - np.cos(np.pi * (at - 0.5) / 0.5)) / 2,
    )
    np.testing.assert_allclose(own, expected, rtol=1e-12)
    np.testing.assert_allclose(head, 100 * expected, rtol=1e-12)


def test_another_number_of_rates_than_groups_is_refused():
    for fit in (lambda learn: learn.fit(1, [0.1, 0.2, 0.3]), lambda learn: learn.fit_one_cycle(1, [0.1, 0.2, 0.3])):
        with pytest.raises(OptionError, match="lr has 3 .*2 parameter groups.*one for each"):
            fit(learner(two_groups()))
    with pytest.raises(OptionError, match="HyperSchedule|lr has 1 values, and the optimizer 2 parameter groups"):
        learner(two_groups()).fit(1, schedule=HyperSchedule(lr=lambda p: [0.1]))
    with pytest.raises(OptionError, match="a list of a rate for each"):
        learner(two_groups()).fit(1, slice(1e-4, 1e-2))
    with pytest.raises(OptionError, match="lr -1: a learning rate"):
        learner(two_groups()).fit(1, [1e-3, -1])


@pytest.mark.parametrize(
    ("make", "name", "before"),
    [
        (partial(RMSprop, lr=0.02, alpha=0.9), "alpha", 0.9),
        (partial(RMSprop, lr=0.02, momentum=0.8), "momentum", 0.8),
        (partial(Adam, lr=0.02, betas=(0.8, 0.99)), "betas", (0.8, 0.99)),
        (partial(torch.optim.SGD, lr=0.02, momentum=0.7), "momentum", 0.7),
    ],
)
def test_after_a_cycle_all_is_what_it_was_before(make, name, before):
    learn = learner(make)
    learn.fit_one_cycle(2, 0.5)
    assert len({str(value) for value in learn.recorder.hyper(name).tolist()}) > 2, "the cycle moved it"
    group = learn.optimizer.param_groups[0]
    assert (group["lr"], group[name]) == (0.02, before)
    learn.fit(1)
    assert set(learn.recorder.hyper("lr")[2 * BATCHES :]) == {0.02}


def test_the_last_checkpoint_has_what_was_before_the_cycle(tmp_path):
    learn = learner(partial(RMSprop, lr=0.02), folder=tmp_path)
    learn.fit_one_cycle(2, 0.5, checkpoint_every="epoch")
    again = learner(partial(RMSprop, lr=0.3))
    again.load(tmp_path / "checkpoint.safetensors")
    assert (again.optimizer.param_groups[0]["lr"], again.optimizer.param_groups[0]["alpha"]) == (0.02, 0.99)


def test_a_cycle_that_was_stopped_and_resumed_returns_to_what_was_before(tmp_path):
    whole = learner(partial(RMSprop, lr=0.02), folder=tmp_path / "whole")
    whole.fit_one_cycle(3, 0.5)

    stopped = learner(partial(RMSprop, lr=0.02), folder=tmp_path / "stopped")
    real, count = stopped.optimizer.step, iter(range(100))

    def step(*arguments):
        if next(count) == 5:
            raise RuntimeError("power cut")
        return real(*arguments)

    stopped.optimizer.step = step
    with pytest.raises(RuntimeError, match="power cut"):
        stopped.fit_one_cycle(3, 0.5, checkpoint_every=2)
    resumed = learner(partial(RMSprop, lr=0.02), folder=tmp_path / "stopped")
    resumed.fit_one_cycle(3, 0.5, checkpoint_every=2, resume=True)
    assert resumed.recorder.losses.tolist() == whole.recorder.losses.tolist()
    assert resumed.optimizer.param_groups[0]["lr"] == 0.02


def test_a_tensor_as_rate_is_what_it_was_too():
    rate = torch.tensor(0.02)
    learn = learner(partial(torch.optim.Adam, lr=rate))
    learn.fit_one_cycle(1, 0.5)
    assert rate.item() == pytest.approx(0.02)
    assert learn.optimizer.param_groups[0]["lr"] is rate


@pytest.mark.parametrize("cycle", [False, True])
def test_a_fit_gives_an_optimizer_the_rate_that_it_needs(cycle):
    learn = learner(partial(Optimizer, pieces=[descend], beta=2.0))
    learn.fit_one_cycle(2, 0.003) if cycle else learn.fit(2, 0.003)
    assert learn.recorder.hyper("lr").max() == pytest.approx(0.003, rel=0.05)
    assert learn.optimizer.param_groups[0]["lr"] == 0.003


def test_without_a_rate_the_error_is_the_optimizers_own():
    learn = learner(partial(Optimizer, pieces=[descend], beta=2.0))
    with pytest.raises(FormulaError, match="reads 'lr'"):
        learn.fit(1)
    broken = learner(partial(Optimizer, pieces=[descend]))
    with pytest.raises(FormulaError, match="reads 'beta'|reads 'lr'"):
        broken.fit(1, 0.1)


def test_lr_find_needs_no_rate_and_leaves_the_optimizer_unmade():
    learn = learner(partial(Optimizer, pieces=[descend], beta=1.0), train=data(8))
    learn.lr_find(steps=20, orders=1)
    learn.fit(1, 0.05)
    assert set(learn.recorder.hyper("lr")) == {0.05}


def shown(capsys, *fits, make=RMSprop):
    torch.manual_seed(0)
    learn = Learner(nn.Linear(2, 1), (data(), None), mse_loss, make)
    for fit in fits:
        capsys.readouterr()
        fit(learn)
    return capsys.readouterr().out


def test_a_fit_without_a_rate_says_which_one_it_takes(capsys):
    assert shown(capsys, lambda learn: learn.fit(1)).startswith(
        "lr 0.01: what RMSprop was made with, as this fit was given none\n"
    )
    out = shown(capsys, lambda learn: learn.fit(1, 0.003), lambda learn: learn.fit(1))
    assert out.startswith("lr 0.003: what an earlier fit left in RMSprop, as this fit was given none\n")
    out = shown(capsys, lambda learn: learn.fit_one_cycle(1, 0.5), lambda learn: learn.fit(1))
    assert out.startswith("lr 0.01: what an earlier fit left")
    out = shown(capsys, lambda learn: learn.fit(1, 0.5, "cosine"), lambda learn: learn.fit(1))
    assert out.startswith("lr 0: what an earlier fit left")
    out = shown(capsys, lambda learn: learn.fit(1), make=two_groups(torch.optim.Adam))
    assert out.startswith("lr 0.0001 and 0.01: what Adam was made with")


def test_a_rate_that_was_given_is_not_said_again(capsys):
    for fit, make in (
        (lambda learn: learn.fit(1, 0.1), RMSprop),
        (lambda learn: learn.fit_one_cycle(1, 0.1), RMSprop),
        (lambda learn: learn.fit(1), partial(RMSprop, lr=0.1)),
    ):
        assert shown(capsys, fit, make=make).split()[0] == "epoch"


def test_one_rate_for_groups_that_had_their_own_is_said(capsys):
    out = shown(capsys, lambda learn: learn.fit(1, 0.5), make=two_groups(torch.optim.Adam))
    assert out.startswith("lr 0.5 for all 2 parameter groups, which had 0.0001 and 0.01; a list gives each its own\n")
