"""The averages of parameters that a formula keeps, put in the parameters' place for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


@contextlib.contextmanager
def in_place_of(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Inside, each parameter of ``(parameter, average)`` has the values of its average; afterwards its own."""
    pairs = list(pairs)
    own = [(p, p.detach().clone()) for p, _ in pairs]
    try:
        _copy(pairs)
        yield
    finally:
        _copy(own)


@torch.no_grad()
def _copy(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    for target, source in pairs:
        target.copy_(source)
