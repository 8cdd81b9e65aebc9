"""Predictions for data without targets, for inputs in memory, and of outputs that cannot be stacked."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from ravine.errors import OptionError, TrainingError
from ravine.train import Batches, Learner

INPUTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(20) % 2


def learner(net: nn.Module, **options) -> Learner:
    return Learner(net, (Batches(INPUTS, CLASSES, 8), None), cross_entropy, quiet=True, **options)


class Named(nn.Linear):
    def forward(self, x):
        return super().forward(x)


@pytest.mark.parametrize(
    "data",
    [
        lambda: DataLoader(TensorDataset(INPUTS), 8),
        lambda: DataLoader(INPUTS, 8),
        lambda: list(INPUTS.split(8)),
        lambda: DataLoader([{"x": x} for x in INPUTS], 8),
        lambda: DataLoader(TensorDataset(INPUTS, CLASSES), 8),
        lambda: INPUTS.numpy(),
        lambda: (INPUTS,),
        lambda: {"x": INPUTS},
    ],
    ids=["TensorDataset", "tensor", "list", "dicts", "with targets", "array", "tuple", "dict"],
)
def test_inputs_alone(data):
    net = Named(3, 2)
    with torch.no_grad():
        torch.testing.assert_close(learner(net).predict(data()), net(INPUTS))


def test_rows_that_are_shuffled_are_warned_of():
    shuffled = DataLoader(TensorDataset(INPUTS, CLASSES), 8, shuffle=True)
    with pytest.warns(UserWarning, match="in the order of this DataLoader.*shuffle=False"):
        assert learner(Named(3, 2)).predict(shuffled).shape == (20, 2)


class Sum(nn.Linear):
    def forward(self, one, other):
        return super().forward(one + other)


@pytest.mark.parametrize(
    "data",
    [
        lambda: DataLoader(TensorDataset(INPUTS, INPUTS), 8),
        lambda: DataLoader([((x, x), 0) for x in INPUTS], 8),
        lambda: (INPUTS, INPUTS),
    ],
    ids=["without targets", "with targets", "tuple"],
)
def test_several_inputs_alone(data):
    net = Sum(3, 2)
    with torch.no_grad():
        torch.testing.assert_close(learner(net).predict(data()), net(INPUTS, INPUTS))


def test_outputs_of_unequal_length_are_a_list_where_it_is_asked_for():
    texts = [torch.randint(0, 9, (4, n), generator=torch.Generator().manual_seed(n)) for n in (5, 7)]
    net = nn.Embedding(9, 3)
    called = []
    net.register_forward_hook(lambda *_: called.append(1))
    with pytest.raises(TrainingError, match=r"outputs of batch 2 have shape \(4, 7, 3\), .* \(4, 5, 3\).*stack=False"):
        learner(net).predict([*texts, *texts])
    assert len(called) == 2  # at the second batch, and not after all
    with torch.no_grad():
        found = learner(net).predict(texts, stack=False)
        assert all(map(torch.equal, found, [net(text) for text in texts]))


def test_outputs_that_are_several():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), {"x": x}

    found = learner(Pair(3, 2)).predict(INPUTS, stack=False)
    assert torch.equal(torch.cat([extra["x"] for _, extra in found]), INPUTS)


def test_inputs_and_targets_are_not_two_inputs():
    with pytest.raises(OptionError, match="a tuple of 2 tensors, and the model takes one. .*give the inputs alone"):
        learner(nn.Sequential(nn.Linear(3, 2))).predict((INPUTS, CLASSES))
