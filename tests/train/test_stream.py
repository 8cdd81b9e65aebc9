"""A stream's epochs are the next so many batches, in a run that is resumed too."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, IterableDataset

from ravine.errors import OptionError
from ravine.optim import SGD
from ravine.train import Callback, Learner, Stream


class Endless(IterableDataset):
    def __iter__(self):
        for number in itertools.count():
            yield torch.tensor([float(number % 17)]), torch.tensor([number % 3.0])


class Short:
    def __iter__(self):
        return iter([(torch.ones(1, 1) * n, torch.zeros(1, 1)) for n in range(5)])


class Served(Callback):
    passive = True

    def __init__(self):
        self.first = []

    def before_batch(self, fit):
        self.first.append(fit.inputs[0].item())


def numbers(epoch):
    return [inputs[0].item() for inputs, _ in epoch]


def test_an_epoch_takes_the_next_batches_and_data_that_end_begin_again():
    stream = Stream(Short(), 3)
    assert [numbers(stream) for _ in range(3)] == [[0, 1, 2], [3, 4, 0], [1, 2, 3]]
    assert numbers(stream.epoch(1, 1)) == [4, 0]  # back, and from the middle
    assert numbers(stream.epoch(0)) == [0, 1, 2]
    assert len(stream) == 3


def learner(net, **options):
    stream = Stream(DataLoader(Endless(), 4), 6)
    return Learner(net, (stream, Stream(DataLoader(Endless(), 4), 2)), mse_loss, SGD, quiet=True, **options)


def net():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


@pytest.mark.parametrize("schedule", ["cosine", "step:2,0.5"])
def test_every_schedule_works_and_validation_is_of_the_same_rows(schedule):
    served = Served()
    learn = learner(net(), callbacks=[served])
    learn.fit(2, 1e-3, schedule)
    assert served.first == [float(4 * n % 17) for n in range(12)]
    assert learn.validate() == learn.validate()
    rows = torch.arange(8.0)[:, None]
    with torch.no_grad():
        expected = mse_loss(learn.model(rows), rows % 3).item()
    assert learn.validate()["valid_loss"] == pytest.approx(expected, rel=1e-5)
    learn.lr_find(1e-6, 1.0, 20, 1)
    learn.fit_one_cycle(1, 1e-3)
    assert len(learn.recorder) == 18


def test_a_run_that_is_resumed_gets_the_batches_that_come_next(tmp_path):
    class Stops(Callback):
        passive = True

        def after_batch(self, fit):
            if len(fit.recorder) == 10:
                raise KeyboardInterrupt

    whole = learner(net())
    whole.fit(3, 1e-3)
    run = {"folder": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        learner(net(), callbacks=[Stops()], **run).fit(3, 1e-3, checkpoint_every=5)
    again = learner(net(), **run)
    again.fit(3, 1e-3, checkpoint_every=5, resume=True)
    assert again.recorder.losses.tolist() == whole.recorder.losses.tolist()


@pytest.mark.parametrize(
    ("data", "steps", "message"),
    [(Short(), 0, "steps_per_epoch 0"), (Short(), 1.5, r"steps_per_epoch 1\.5"), (iter([]), 2, "starts over")],
)
def test_what_is_no_stream(data, steps, message):
    with pytest.raises(OptionError, match=message):
        Stream(data, steps)


def test_a_stream_that_gives_nothing():
    with pytest.raises(OptionError, match="gave no batch"):
        next(iter(Stream([], 2)))
