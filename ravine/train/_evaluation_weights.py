"""Optimizers whose parameters are not where the model is evaluated: the authors' Schedule-Free, ours, and others of their kind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ravine.optim import Optimizer


def hold_weights(optimizer: torch.optim.Optimizer, training: bool) -> None:
    """Let the parameters be where gradients are taken, or where the model is evaluated, of an optimizer that has two places."""
    if has_two_places(optimizer):
        (optimizer.train if training else optimizer.eval)()  # type: ignore[attr-defined]


@contextlib.contextmanager
def evaluation_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, the parameters are where the model is evaluated; afterwards where they were: those of ours bit for bit."""
    if isinstance(optimizer, Optimizer) and has_two_places(optimizer):
        with optimizer.averaged():
            yield
        return
    training = any(group.get("train_mode") for group in optimizer.param_groups)
    hold_weights(optimizer, False)
    try:
        yield
    finally:
        if training:
            hold_weights(optimizer, True)


def has_two_places(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it has ``train()`` and ``eval()``, which move the parameters."""
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))
