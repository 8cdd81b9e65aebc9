"""Metrics: the accuracy, and when it is shown without being asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ravine.errors import TrainingError
from ravine.train import Batches, Learner, accuracy

INPUTS = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] > 0).long()


class Stream(IterableDataset):  # type: ignore[type-arg]
    """Rows whose number is not known."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(INPUTS, self.targets, strict=True)


class Draws:
    """Batches in a random order, from torch's own generator."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(INPUTS)).split(8):
            yield INPUTS[rows], self.targets[rows]


LOADERS: dict[str, Callable[[Tensor], Any]] = {
    "Batches": lambda targets: Batches(INPUTS, targets, 8),
    "list": lambda targets: list(zip(INPUTS.split(8), targets.split(8), strict=True)),
    "DataLoader": lambda targets: DataLoader(TensorDataset(INPUTS, targets), 8, shuffle=True),
    "DataLoader of plain rows": lambda targets: DataLoader(
        [(x, y.item()) for x, y in zip(INPUTS, targets, strict=True)], 8
    ),
    "stream": lambda targets: DataLoader(Stream(targets), 8),
    "random order": Draws,
}


def columns(learn: Learner) -> set[str]:
    learn.fit(1, 1e-3)
    shown = set(learn.recorder.epochs[-1]) - {"epoch", "step", "time", "train_loss"}
    assert set(learn.validate()) == shown
    return shown


@pytest.mark.parametrize("name", LOADERS)
def test_the_accuracy_is_shown_where_targets_are_class_indices(name: str) -> None:
    data = LOADERS[name](CLASSES)
    assert columns(Learner(nn.Linear(4, 2), (data, data), cross_entropy, quiet=True)) == {"valid_loss", "accuracy"}


@pytest.mark.parametrize("name", [name for name in LOADERS if "plain" not in name])
@pytest.mark.parametrize("loss", [mse_loss, binary_cross_entropy_with_logits])
def test_a_regression_is_trained_without_metrics(name: str, loss: Callable[..., Tensor]) -> None:
    data = LOADERS[name](CLASSES[:, None].float())
    assert columns(Learner(nn.Linear(4, 1), (data, data), loss, quiet=True)) == {"valid_loss"}


@pytest.mark.parametrize("name", LOADERS)
def test_choosing_the_metrics_changes_nothing_of_the_training(name: str) -> None:
    losses = []
    for metrics in (None, [accuracy], []):
        torch.manual_seed(3)
        data = LOADERS[name](CLASSES)
        learn = Learner(nn.Linear(4, 2), (data, data), cross_entropy, metrics=metrics, quiet=True)
        learn.fit(2, 1e-3)
        losses.append(learn.recorder.losses.tolist())
    assert losses[0] == losses[1] == losses[2]


def test_no_metrics_where_the_first_batch_cannot_be_had() -> None:
    class Broken:
        def __iter__(self) -> Iterator[Any]:
            raise OSError("the disk is gone")

    learn = Learner(nn.Linear(4, 2), (LOADERS["list"](CLASSES), Broken()), cross_entropy, quiet=True)
    with pytest.raises(OSError, match="the disk is gone"):
        learn.fit(1)
    assert len(learn.recorder.epochs) == 1


def test_accuracy_says_when_it_cannot_be_computed() -> None:
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    assert accuracy(torch.eye(3)[None].repeat(2, 1, 1), torch.tensor([[0, 1, 2], [0, 0, 0]])) == pytest.approx(4 / 6)
    for outputs, targets in [((5, 1), (5, 1)), ((5,), (5,)), ((5, 3), (5, 3)), ((5, 3), (4,))]:
        with pytest.raises(TrainingError, match=r"accuracy compares .* Choose other metrics"):
            accuracy(torch.zeros(outputs), torch.zeros(targets))
