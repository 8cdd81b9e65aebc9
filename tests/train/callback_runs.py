"""Small trainings and what they give, for the tests of callbacks; holds no tests."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ravine import optim
from ravine.train import Callback, Fit, Learner

Batch = tuple[Tensor, Tensor]


def model(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def data(*sizes: int, dtype: torch.dtype = torch.float64) -> list[Batch]:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(sum(sizes), 5, generator=generator, dtype=dtype)
    targets = torch.randint(3, (sum(sizes),), generator=generator)
    return list(zip(inputs.split(sizes), targets.split(sizes), strict=True))


def concatenated(batches: Sequence[Batch]) -> Batch:
    inputs, targets = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(targets)


class NoLength:
    """Batches whose number nobody knows before they are gone through."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def trained(
    batches: Iterable[Batch],
    opt_func: Callable[..., torch.optim.Optimizer],
    callbacks: Sequence[Callback],
    epochs: int = 3,
    loss: Callable[..., Tensor] = cross_entropy,
    schedule: Callback | str | None = None,
    start: nn.Module | None = None,
    valid: Iterable[Batch] | None = None,
) -> Learner:
    net = start or model()
    learn = Learner(net, (batches, valid), loss, opt_func, (), callbacks=callbacks, quiet=True)
    learn.fit(epochs, schedule=schedule)
    return learn


def parameters(learn: Any) -> Tensor:
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def equal(learn: Any, other: Any, tolerance: float = 1e-12) -> None:
    a, b = parameters(learn), parameters(other)
    assert (a - b).abs().max() <= tolerance * a.abs().max()
    assert (a - parameters(Start)).abs().max() > 1e-3  # something was trained


class Start:
    model = model()


SGD = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)
OPTIMIZERS = {
    "SGD": SGD,
    "Adam": functools.partial(torch.optim.Adam, lr=1e-2),
    "our RMSprop": functools.partial(optim.RMSprop, lr=1e-2, eps=1e-3),
}


class Fake(Callback):
    """Puts values into the table in place of those that were measured."""

    order = -100

    def __init__(self, values: Sequence[float], column: str = "valid_loss") -> None:
        self.values, self.column = values, column

    def after_epoch(self, fit: Fit) -> None:
        fit.row[self.column] = self.values[fit.state.epoch - 1]
