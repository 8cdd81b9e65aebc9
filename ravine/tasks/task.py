"""What a task is: a model to start from, data to train and test it on, a loss, metrics, and how long to train.

A test function of two variables is a task too: its model is a point, and its data are empty rows,
one for each step, because a function reads nothing. So one training loop serves every task.
Knows how to train it, by a Learner; no comparison and no command line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ravine.optim import RMSprop
from ravine.train import Batches, Learner, accuracy
from ravine.train.metrics import Measure


# enough to keep the processor busy, little enough for any memory
_EVALUATION_ROWS = 4096
_EVALUATION_NUMBERS = 2**22


@dataclass(frozen=True)
class Data:
    """Rows held in memory: ``inputs`` of shape (rows, ...) and ``targets`` of shape (rows, ...)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


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

    def start(self, seed: int = 0) -> nn.Module:
        """A model with the random weights that ``seed`` gives, made without touching torch's global generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.model()

    def batches(self, seed: int = 0) -> tuple[Batches, Batches]:
        """Batches to train on, in the orders that ``seed`` gives, and batches to test on."""
        train = Batches(self.train.inputs, self.train.targets, self.batch_size, seed=seed)
        return train, self.in_order(self.test)

    def in_order(self, data: Data) -> Batches:
        """All rows of ``data`` in large batches, to measure a model on."""
        rows = _EVALUATION_NUMBERS // max(data.inputs[0].numel(), 1)
        size = max(self.batch_size, min(_EVALUATION_ROWS, rows))
        return Batches(data.inputs, data.targets, size, shuffle=False)

    def learner(
        self,
        opt_func: Callable[..., torch.optim.Optimizer] = RMSprop,
        *,
        seed: int = 0,
        model: nn.Module | None = None,
        **options: Any,
    ) -> Learner:
        """A Learner of this task.

        Args:
            opt_func: makes the optimizer from the model's parameters.
            seed: decides the first weights and the order of the data.
            model: train this one instead of a new one.
            options: others of :class:`ravine.train.Learner`.
        """
        model = self.start(seed) if model is None else model
        return Learner(model, self.batches(seed), self.loss, opt_func, self.metrics, **options)


__all__ = ["Data", "Surface", "Task", "accuracy", "mlp", "standardize"]


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
