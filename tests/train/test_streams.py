"""Training data without a length: ``steps_per_epoch`` says how long an epoch is, and a stream goes on where it was."""

import itertools

import pytest
import torch
from schedule_runs import data
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, IterableDataset

from ravine.errors import OptionError
from ravine.optim import SGD
from ravine.train import Batches, Learner


class Stream:
    """Batches without a length, numbered by their values; ``of`` of them, or without end."""

    def __init__(self, of=None):
        self.of = of

    def __iter__(self):
        numbers = itertools.count() if self.of is None else range(self.of)
        for number in numbers:
            yield torch.full((4, 2), float(number)), torch.zeros(4, 1)


class Rows(IterableDataset):
    def __iter__(self):
        return (row for number in range(12) for row in [(torch.full((2,), float(number)), torch.zeros(1))])


class Seen(nn.Linear):
    """A layer that keeps the first number of every batch."""

    def __init__(self):
        super().__init__(2, 1)
        self.seen = []

    def forward(self, inputs):
        if self.training:
            self.seen.append(inputs[0, 0].item())
        return super().forward(inputs)


def fitted(train, epochs, steps, folder=None, **options):
    torch.manual_seed(0)
    learn = Learner(Seen(), (train, None), mse_loss, SGD, (), quiet=True, steps_per_epoch=steps, folder=folder)
    learn.fit(epochs, 1e-3, **options)
    return learn


def test_an_endless_stream_is_trained_on_and_goes_on_from_epoch_to_epoch():
    learn = fitted(Stream(), 3, 4)
    assert learn.model.seen == list(range(12))
    assert learn.recorder.column("step").tolist() == [4, 8, 12]
    learn.fit(1, 1e-3)
    assert learn.model.seen == list(range(16))


def test_a_generator_cannot_be_gone_through_again():
    with pytest.raises(OptionError, match="gone through once only"):
        fitted(iter(Stream()), 2, 3)


def test_a_stream_that_ends_begins_anew():
    assert fitted(Stream(5), 2, 4).model.seen == [0, 1, 2, 3, 4, 0, 1, 2]
    assert fitted(DataLoader(Rows(), batch_size=4), 2, 2).model.seen == [0, 4, 8, 0]


@pytest.mark.parametrize("schedule", ["cosine", "warmup-linear:0.5"])
def test_schedules_over_the_run_know_its_length(schedule):
    streamed, listed = fitted(Stream(), 2, 6, schedule=schedule), fitted(list(data(6)), 2, None, schedule=schedule)
    assert streamed.recorder.hyper("lr").tolist() == listed.recorder.hyper("lr").tolist()
    learn = fitted(Stream(), 1, 6)
    learn.fit_one_cycle(2, 1e-2)
    assert learn.recorder.hyper("lr")[6:].max() == pytest.approx(1e-2)


def test_without_it_the_error_names_it():
    for fit in (lambda learn: learn.fit_one_cycle(1, 0.1), lambda learn: learn.fit(1, 0.1, "cosine")):
        with pytest.raises(OptionError, match=r"Learner\(\.\.\., steps_per_epoch=500\)"):
            fit(Learner(Seen(), (Stream(5), None), mse_loss, SGD, (), quiet=True))


def test_what_makes_no_sense_is_refused():
    for value in (0, -1, 2.5, True, "4"):
        with pytest.raises(OptionError, match="steps_per_epoch"):
            fitted(Stream(), 1, value)
    shorter = fitted(Batches(torch.zeros(8, 2), torch.zeros(8, 1), 2), 2, 3)
    assert len(shorter.recorder) == 6


def test_a_run_that_is_resumed_goes_on_where_the_stream_was(tmp_path):
    whole = fitted(Stream(7), 4, 3)
    half = fitted(Stream(7), 2, 3, tmp_path, checkpoint_every="epoch")
    rest = fitted(Stream(7), 4, 3, tmp_path, checkpoint_every="epoch", resume=True)
    assert half.model.seen + rest.model.seen == whole.model.seen
    assert rest.recorder.losses.tolist() == whole.recorder.losses.tolist()
