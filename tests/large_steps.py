"""Steps of large tensors, most of which are looked at in brief: which of them are not, and gradients for them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import Parameter


def looked_at(step: int, rows: int) -> bool:
    """Whether a step, from 0, is looked at in full where a history has so many rows: what docs/watch.md says."""
    return step % (1 if step < rows else 2 if step < 2 * rows else 4 if step < 4 * rows else 8) == 0


def params_of(optimizer: torch.optim.Optimizer) -> list[Parameter]:
    return list(optimizer.param_groups[0]["params"])


def make_steps(optimizer: torch.optim.Optimizer, steps: Iterable[int]) -> None:
    """Each with gradients of its own, which its number says."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for p in params_of(optimizer):
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        optimizer.step()
