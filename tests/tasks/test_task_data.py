"""Tasks of the data that people have: several inputs, DataLoaders, streams, data to validate on; and what they refuse."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from ravine.comparison._study.stacked_task import stacked_task
from ravine.comparison._study.trial import validation_split
from ravine.errors import DataError, OptionError
from ravine.optim import SGD
from ravine.tasks import Data, Task
from ravine.tasks._data_check import check_numbers, content
from ravine.train import Batches, Stream
from ravine.train._data_content import nonfinite

INPUTS = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()
GIVEN = {"model": lambda: nn.Linear(3, 2), "loss": cross_entropy}


class Augmented(Dataset):
    def __len__(self) -> int:
        return len(INPUTS)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return INPUTS[i] + 0.1 * torch.randn(3), CLASSES[i]


class Endless(IterableDataset):
    def __iter__(self):
        return ((INPUTS[i % 50], CLASSES[i % 50]) for i in itertools.count())


def loader(shuffle: bool = True, **options) -> DataLoader:
    return DataLoader(TensorDataset(INPUTS, CLASSES), 8, shuffle=shuffle, **options)


def test_a_task_of_loaders():
    task = Task(**GIVEN, train=loader(), test=loader(drop_last=True))
    assert (task.batch_size, task.steps_per_epoch) == (8, 7)
    learn = task.learner(SGD, quiet=True)
    learn.fit(1, 0.1)
    expected = cross_entropy(learn.predict(INPUTS), CLASSES).item()
    assert learn.validate()["valid_loss"] == pytest.approx(expected, rel=1e-5)  # all rows, in order
    torch.testing.assert_close(learn.predict(), learn.predict(INPUTS))


def test_the_order_of_a_loader_is_decided_by_the_seed():
    task = Task(**GIVEN, train=loader(), test=loader())
    orders = [torch.cat([x for x, _ in task.batches(seed)[0]]) for seed in (1, 1, 2)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


@pytest.mark.parametrize("kind", [Data, lambda x, y: DataLoader(TensorDataset(x, y), 8, shuffle=True)])
def test_rows_that_are_no_numbers_have_their_numbers_in_the_data_of_the_task(kind):
    inputs = INPUTS.clone()
    inputs[[7, 33]] = math.nan
    task = Task(**GIVEN, train=kind(inputs, CLASSES), test=Data(INPUTS, CLASSES), batch_size=8)
    training, held_out = validation_split(task, 3)
    found = nonfinite(training.batches(0)[0].reseeded(1) if kind is Data else training.batches(0)[0])
    found += nonfinite(training.in_order(held_out))
    assert {int(number) for number in re.findall(r"\d+(?=,| \()", found)} == {7, 33}


@pytest.mark.parametrize("kind", ["Data", "DataLoader", "augmented"])
def test_rows_are_held_out(kind):
    kinds = {
        "Data": Data(INPUTS, CLASSES),
        "DataLoader": loader(),
        "augmented": DataLoader(Augmented(), 8, shuffle=True),
    }
    task = Task(**GIVEN, train=kinds[kind], test=Data(INPUTS, CLASSES), batch_size=8)
    training, held_out = validation_split(task, 3)
    assert training.steps_per_epoch == 5
    if kind == "augmented":
        assert len(held_out.dataset) == 10
        return
    parts = [torch.cat([x for x, _ in one]) for one in (training.batches(0)[0], training.in_order(held_out))]
    assert [len(part) for part in parts] == [40, 10]
    assert sorted(map(tuple, torch.cat(parts).tolist())) == sorted(map(tuple, INPUTS.tolist()))
    rows = torch.randperm(50, generator=torch.Generator().manual_seed(3))[:10]
    assert torch.equal(parts[1], INPUTS[rows])  # the same rows, whatever the form


def test_data_to_validate_on_and_streams():
    stream = Stream(DataLoader(Endless(), 8), steps_per_epoch=4)
    valid = Data(INPUTS, CLASSES)
    task = Task(**GIVEN, train=stream, test=valid, valid=valid)
    assert (task.steps_per_epoch, task.batch_size) == (4, 8)
    assert validation_split(task, 0) == (task, valid)
    task.learner(SGD, quiet=True).fit(2, 0.1)
    for train in (stream, DataLoader(TensorDataset(INPUTS, CLASSES), 8, sampler=WeightedRandomSampler([1.0] * 50, 50))):
        with pytest.raises(OptionError, match=r"no rows can be held out .* give the Task valid="):
            validation_split(Task(**GIVEN, train=train, test=valid), 0)
    with pytest.raises(OptionError, match=r"Stream\(loader, steps_per_epoch=100\)"):
        Task(**GIVEN, train=DataLoader(Endless(), 8), test=valid)


def test_what_fills_no_batch_is_left_out():
    task = Task(**GIVEN, train=Data(INPUTS, CLASSES), test=Data(INPUTS, CLASSES), batch_size=7, drop_last=True)
    assert task.steps_per_epoch == len(task.batches()[0]) == 7
    assert [len(x) for x, _ in task.batches()[0]] == [7] * 7
    assert Task(**GIVEN, train=loader(), test=loader(), drop_last=True).steps_per_epoch == 6


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 4}, "batch_size is 4, but its train is a DataLoader with batches of 8"),
        ({"drop_last": 1}, "drop_last is 1; it must be True or False"),
        ({"valid": INPUTS}, "valid is a Tensor"),
    ],
)
def test_what_does_not_fit_is_named(changed, message):
    with pytest.raises(OptionError, match=message):
        Task(**GIVEN, **{"train": loader(), "test": loader(), **changed})


def test_whole_numbers_and_arrays_of_numpy():
    data = Data(INPUTS.double().numpy(), CLASSES.numpy().astype(np.int32))
    task = Task(**GIVEN, train=data, test=data, batch_size=np.int64(8), epochs=np.int32(2))
    assert (type(task.batch_size), task.epochs) == (int, 2)
    task.learner(SGD, quiet=True).fit(1, 0.1)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(outputs * self.scale, targets)


def test_the_parameters_of_a_loss_begin_anew_in_every_training():
    data = Data(INPUTS, CLASSES)
    task = Task(model=GIVEN["model"], loss=Scaled(), train=data, test=data, batch_size=8)
    learn = task.learner(SGD, quiet=True)
    learn.fit(1, 0.1)
    assert learn.loss_func.scale != 1
    assert task.loss.scale == 1


def test_only_rows_that_are_one_tensor_are_trained_together():
    data = Data(INPUTS, CLASSES)
    plain = {**GIVEN, "train": data, "test": data, "batch_size": 8}
    assert stacked_task(Task(**plain)) is not None
    for changed in (
        {"train": loader()},
        {"train": Data((INPUTS,), CLASSES)},
        {"drop_last": True},
        {"valid": data},
        {"loss": Scaled()},
        {"loss": nn.CrossEntropyLoss(torch.tensor([1.0, 9.0]))},
        {"train": Data(INPUTS, torch.where(torch.arange(50) == 40, -100, CLASSES))},
    ):
        assert stacked_task(Task(**{**plain, **changed})) is None


def test_rows_that_make_the_loss_nan_are_refused_unless_the_model_takes_them():
    inputs = INPUTS.clone()
    inputs[7, 2] = float("nan")
    for broken in (Data(inputs, CLASSES), DataLoader(TensorDataset(inputs, CLASSES), 8)):
        good = {"train": Data(INPUTS, CLASSES), "test": Data(INPUTS, CLASSES), "batch_size": 8}
        for name, what in (("train", "training"), ("test", "test"), ("valid", "validation")):
            task = Task(**GIVEN, **{**good, name: broken})
            with pytest.raises(
                DataError, match=rf"The {what} data of task have NaN or infinity in the inputs of row 7 \(1"
            ):
                check_numbers(task)
            check_numbers(
                Task(**{**GIVEN, "loss": lambda o, t: cross_entropy(o.nan_to_num(), t)}, **{**good, name: broken})
            )


def test_the_content_is_that_of_all_data():
    data, other = Data(INPUTS, CLASSES), Data(-INPUTS, CLASSES)
    names = {
        content(Task(**GIVEN, **{"train": data, "test": data, "batch_size": 8, **changed}))
        for changed in ({}, {"train": other}, {"test": other}, {"valid": data})
    }
    assert len(names) == 4
    assert isinstance(Task(**GIVEN, train=data, test=data, batch_size=8).batches()[0], Batches)
