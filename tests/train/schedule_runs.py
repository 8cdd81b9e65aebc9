"""A small training for the tests of schedules; holds no tests."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ravine.train import Callback, Fit, Learner

EPOCHS, BATCHES = 4, 3
STEPS = EPOCHS * BATCHES


def data(batches: int = BATCHES, size: int = 4, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batches * size, 2, generator=generator)
    return list(zip(inputs.split(size), inputs.sum(1, keepdim=True).split(size), strict=True))


def learner(
    opt_func: Callable[..., torch.optim.Optimizer] | None = None,
    valid: Any = None,
    train: Any = None,
    **options: Any,
) -> Learner:
    torch.manual_seed(0)
    make = opt_func or functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9)
    return Learner(nn.Linear(2, 1), (train or data(), valid), mse_loss, make, metrics=(), quiet=True, **options)


class FakeLosses(Callback):
    """Puts losses into the table in place of those that were measured."""

    order = -100

    def __init__(self, values: Sequence[float], column: str = "valid_loss") -> None:
        self.values, self.column = values, column

    def after_epoch(self, fit: Fit) -> None:
        fit.row[self.column] = self.values[fit.state.epoch - 1]
