"""Finds out whether a loss compares every output with every target, because their shapes are broadcast against each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ravine import _randomness as randomness

Shape = tuple[int, ...]

OPENING = "A batch's outputs have the shape"
"""How what is said of such a loss begins."""


def joined_shape(outputs: Shape, targets: Shape) -> Shape | None:
    """The shape that both are broadcast to, if it has more elements than either; else None."""
    if outputs == targets or 0 in (*outputs, *targets):
        return None
    width = max(len(outputs), len(targets))
    pairs = list(zip((1,) * (width - len(outputs)) + outputs, (1,) * (width - len(targets)) + targets, strict=True))
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        return None  # no broadcasting: the loss knows what it does with them
    spread = [a != b and a == 1 for a, b in pairs], [a != b and b == 1 for a, b in pairs]
    if not all(map(any, spread)):
        return None  # one of them has all elements, as one weight or target for many outputs
    return tuple(max(a, b) for a, b in pairs)


def sentence(outputs: Shape, targets: Shape) -> str:
    """What is said of a loss that broadcasts a batch of these shapes; empty for shapes that are not broadcast."""
    joined = joined_shape(outputs, targets)
    if joined is None:
        return ""
    return (
        f"{OPENING} {outputs} and its targets {targets}: compared element by element that is "
        f"{joined}, every output with every target. The model then learns the mean of the targets."
    )


ADVICE = "Give both the same shape: targets.unsqueeze(-1), or outputs.squeeze(-1)."


@torch.no_grad()
def shapes_of(loss_func: Callable[..., Any], outputs: Any, targets: Any) -> tuple[Shape, ...]:
    """The shapes of outputs and targets, if the loss broadcasts them against each other; else empty.

    Shapes alone do not tell: a loss may bring both into one shape itself, and to cross entropy the targets are classes. But
    only one that compares every output with every target gives the same number where the targets are in another order, and
    another one for other targets.
    """
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return ()
    shapes = tuple(outputs.shape), tuple(targets.shape)
    if joined_shape(*shapes) is None:
        return ()
    if bool((outputs == outputs[:1]).all()):  # as of a last layer that begins at 0: no order could be seen
        noise = torch.rand(
            outputs.shape, generator=torch.Generator().manual_seed(0)
        )  # no two rows are alike to a softmax
        outputs = outputs + 0.1 * noise.to(outputs.device)
    spread = [-i for i in range(1, targets.ndim + 1) if i > outputs.ndim or outputs.shape[-i] == 1 < targets.shape[-i]]
    try:
        given = _number(loss_func, outputs, targets)
        others = [targets.flip(spread), *(targets.roll(1, dimension) for dimension in spread)]
        moved = [other for other in others if not torch.equal(other, targets)]
        constant = [torch.full_like(targets, value) for value in (targets.min().item(), targets.max().item())]
        broadcasts = all(_alike(given, _number(loss_func, outputs, other)) for other in moved) and not all(
            _alike(given, _number(loss_func, outputs, other)) for other in constant
        )
    except Exception:  # what it raises is raised again where it trains
        return ()
    return shapes if moved and broadcasts else ()


def _alike(given: float, other: float) -> bool:
    return math.isclose(given, other, rel_tol=1e-5)


def _number(loss_func: Callable[..., Any], outputs: Tensor, targets: Tensor) -> float:
    with randomness.isolated(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(loss_func(outputs, targets))
