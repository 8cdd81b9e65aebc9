"""A plateau by steps, of any number that is recorded, and of losses below 0."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from schedule_runs import BATCHES, FakeLosses, data, learner
from torch import nn
from torch.optim import lr_scheduler

from ravine.errors import OptionError
from ravine.optim import SGD
from ravine.train import Learner, ReduceOnPlateau
from ravine.train._schedules.by_text import parse


def noisy(batches=6):
    """Batches whose losses go up and down."""
    return data(batches, seed=3)


def loop_of_torch(epochs, patience, factor):
    """The rate of every step of a plain loop, whose plateau is stepped with each batch's loss."""
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience, factor=factor)
    rates = []
    for _ in range(epochs):
        for inputs, targets in noisy():
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(inputs), targets)
            loss.backward()
            optimizer.step()
            scheduler.step(loss.item())
    return rates


@pytest.mark.parametrize("written", [True, False], ids=["text", "class"])
def test_a_plateau_by_steps_is_torchs_stepped_with_each_loss(written):
    learn = learner(partial(torch.optim.SGD, lr=0.3), train=noisy())
    schedule = "plateau:1,0.7,every=step" if written else ReduceOnPlateau(patience=1, factor=0.7, every="step")
    learn.fit(6, schedule=schedule)
    expected = loop_of_torch(6, 1, 0.7)
    assert len(set(expected)) > 2
    assert learn.recorder.hyper("lr").tolist() == expected
    falls = [i for i in range(1, len(expected)) if expected[i] != expected[i - 1]]
    assert [text.partition(" has")[0] for _, text in learn.recorder.notes[: len(falls)]] == [
        f"step {i}: train_loss" for i in falls
    ]
    assert "for 2 steps: lr 0.3 -> 0.21" in learn.recorder.notes[0][1]


def test_it_needs_no_validation_and_goes_on_where_it_stopped(tmp_path):
    whole = learner(partial(torch.optim.SGD, lr=0.3), train=noisy(), folder=tmp_path / "whole")
    whole.fit(6, schedule="plateau:3,0.7,every=step")
    for epochs in (2, 6):
        part = learner(partial(torch.optim.SGD, lr=0.3), train=noisy(), folder=tmp_path / "part")
        part.fit(epochs, schedule="plateau:3,0.7,every=step", checkpoint_every="epoch", resume=True)
    assert part.recorder.hyper("lr").tolist() == whole.recorder.hyper("lr").tolist()
    assert part.recorder.losses.tolist() == whole.recorder.losses.tolist()


@pytest.mark.parametrize("monitor", ["smooth_loss", "grad_norm", "param_norm", "update_norm"])
def test_any_number_that_a_step_records(monitor):
    learn = learner(partial(SGD, lr=0.1), train=noisy())
    learn.fit(4, schedule=f"plateau:2,0.5,every=step,monitor={monitor}")
    if monitor != "param_norm":  # it grows here, so it does not improve; the others fall
        assert all(monitor in text for _, text in learn.recorder.notes)
    else:
        assert learn.recorder.hyper("lr")[-1] < 0.1


def test_a_number_of_the_last_step_may_be_watched_by_epochs():
    learn = learner(partial(SGD, lr=1e-6), train=noisy())  # so low that the parameters stay what they are
    learn.fit(4, schedule="plateau:0,0.5,monitor=param_norm")
    assert learn.recorder.hyper("lr").tolist() == np.repeat([1e-6, 1e-6, 5e-7, 2.5e-7], 6).tolist()
    assert learn.recorder.notes[0][1].startswith("epoch 2: param_norm has not improved for 1 epoch")


def test_any_column_of_the_table():
    learn = learner(valid=data(1))
    learn.fit(5, 0.01, "plateau:1,0.5,monitor=train_loss", callbacks=[FakeLosses([1, 1, 1, 1, 1], "train_loss")])
    assert learn.recorder.hyper("lr").tolist() == np.repeat([0.01, 0.01, 0.01, 0.005, 0.005], BATCHES).tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReduceOnPlateau(every="batch"), "every 'batch'"),
        (lambda: ReduceOnPlateau(every="step", monitor="valid_loss"), "by steps cannot watch 'valid_loss'.*train_loss"),
        (lambda: parse("plateau:5,0.7,evry=step"), "no setting 'evry'. Did you mean 'every'"),
        (lambda: parse("plateau:5,0.7,every=never"), "every 'never'"),
        (lambda: parse("step:5,every=step"), "step:5,every=step' has no setting 'every'"),
        (
            lambda: learner(torch.optim.Adam).fit(1, 0.1, "plateau:1,0.5,every=step,monitor=grad_norm"),
            "what an optimizer of ravine.optim records",
        ),
    ],
)
def test_what_cannot_be_watched_is_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


class Losses(nn.Module):
    """A model whose loss is the input; its parameter never matters."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, 0] + 0 * self.p


def rates_of(values, every="step", **options):
    """The rates after each of these losses."""
    batches = [(torch.full((1, 1), float(v)), torch.zeros(1)) for v in values]
    learn = Learner(Losses(), (batches, None), lambda o, t: o.mean(), torch.optim.SGD, (), quiet=True)
    learn.fit(1, 1.0, ReduceOnPlateau(every=every, **options))
    return [*learn.recorder.hyper("lr").tolist()[1:], learn.optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("level", [-1.0, -1e-3, -1e3, 1.0, 0.0])
def test_standing_still_is_no_improvement_at_any_level(level):
    assert rates_of([level] * 6, patience=1, factor=0.5) == [1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("level", [1.0, -1.0])
@pytest.mark.parametrize("better", [True, False])
def test_an_improvement_exceeds_its_share_of_the_best(level, better):
    """By a hundredth: from -1 to -1.02 is better and to -1.005 is not, as from 1 to 0.98 and to 0.995."""
    step = 0.02 if better else 0.005
    rates = rates_of([level, level - step], patience=0, factor=0.5, threshold=0.01)
    assert rates == [1.0, 1.0 if better else 0.5]


def test_a_loss_that_falls_through_0_improves_all_the_way():
    falling = [1.0, 0.5, 0.0, -0.5, -1.0, -2.0]
    assert rates_of(falling, patience=0, factor=0.5) == [1.0] * 6
    assert rates_of([math.nan, *falling], patience=1, factor=0.5) == [1.0] * 7


def test_a_negative_metric_that_should_rise():
    assert rates_of([-2.0, -1.0, -0.5], patience=0, factor=0.5, mode="max") == [1.0, 1.0, 1.0]
    assert rates_of([-1.0, -1.0, -1.0], patience=0, factor=0.5, mode="max") == [1.0, 0.5, 0.25]
