"""What a task is: a model to start from, data to train and test it on, a loss, metrics, and how long to train.

A test function of two variables is a task too: its model is a point, and its data are empty rows,
one for each step, because a function reads nothing. So one training loop serves every task.
Knows no optimizer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Data:
    """Rows held in memory: ``inputs`` of shape (rows, ...) and ``targets`` of shape (rows, ...)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, size: int, order: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Every row once, ``size`` rows at a time (the last batch may be smaller), shuffled by ``order``."""
        if order is None:
            yield from zip(self.inputs.split(size), self.targets.split(size), strict=True)
            return
        for rows in torch.randperm(len(self), generator=order).split(size):
            yield self.inputs[rows], self.targets[rows]


@dataclass(frozen=True)
class Surface:
    """A function of two variables, as a picture of it needs it.

    ``value`` maps points of shape (..., 2) to values of shape (...). ``minimum`` is where the value is
    least (0 for all of ours), ``start`` where the optimizers begin, and ``window`` is the part worth
    looking at: (left, right, bottom, top).
    """

    value: Callable[[Tensor], Tensor]
    start: tuple[float, float]
    minimum: tuple[float, float]
    window: tuple[float, float, float, float]


Measure = Callable[[Tensor, Tensor], Tensor]
"""From a model's outputs and the targets of the same rows to one number, their mean over the rows."""


@dataclass(frozen=True)
class Task:
    """One thing to train.

    ``model()`` makes the model with fresh random weights from torch's global generator. ``loss`` is
    trained on; ``metrics`` are only reported. ``epochs`` is the usual length of training and
    ``quick_epochs`` the shortest that still orders the optimizers sensibly. ``surface`` is given for a
    test function of two variables, whose model has its point as the parameter ``point`` of shape (2,).
    """

    name: str
    model: Callable[[], nn.Module]
    train: Data
    test: Data
    loss: Measure
    batch_size: int
    epochs: int
    quick_epochs: int
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    surface: Surface | None = None

    @property
    def steps_per_epoch(self) -> int:
        """How many batches, and so optimizer steps, one epoch has."""
        return -(-len(self.train) // self.batch_size)


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of rows whose largest output, (rows, classes), stands at the target class, (rows,)."""
    return (outputs.argmax(dim=1) == targets).float().mean()


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them, on rows flattened to ``widths[0]`` numbers."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def standardize(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels to float32 with mean 0 and standard deviation 1.

    Two numbers do it, taken over all pixels of the training images together, so that a pixel keeps its
    place relative to its neighbours and nothing of the test images is used.
    """
    train, test = train.float(), test.float()
    mean, deviation = train.mean(), train.std().clamp_min(1e-12)  # all pixels equal: zeros, not NaN
    return (train - mean) / deviation, (test - mean) / deviation
