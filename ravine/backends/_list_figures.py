"""The watch's figures of lists of tensors, in as few operations: what a step costs with small tensors are its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ravine.backends import ROUNDING_STATISTICS, STATISTICS, number_dtype


def norms(tensors: Sequence[Tensor], order: float, dtype: torch.dtype) -> Tensor:
    """Of every tensor; 0 without elements."""
    tensors = [t if t.is_floating_point() else t.to(torch.float32) for t in tensors]
    if order == 2:
        return torch.stack(torch._foreach_norm(tensors, 2, dtype))
    filled = [t if t.numel() else t.new_zeros(1) for t in tensors]
    return torch.stack(torch._foreach_norm(filled, order)).to(dtype)


def any_nonfinite(grads: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """1 for every tensor with an element that is NaN or infinite, else 0."""
    return (~torch.isfinite(norms(grads, torch.inf, dtype))).to(dtype)


def count_nonfinite(grads: list[Tensor], dtype: torch.dtype) -> Tensor:
    """How many elements of every tensor are NaN or infinite."""
    # 0 times those is NaN, which is not 0: the "norm" of order 0 counts it.
    return torch.stack(torch._foreach_norm(torch._foreach_mul(grads, 0.0), 0)).to(dtype)


def of_gradients(grads: Sequence[Tensor]) -> dict[str, Tensor]:
    """The statistics of a step that is looked at in brief, which reads no more than gradients; ``nonfinite`` is 1 for any."""
    dtype = number_dtype(grads[0].device)
    squares = norms(grads, 2, dtype) ** 2
    # Squares of finite numbers can overflow where they are not added in a wider dtype; the largest magnitude cannot.
    wider = dtype is torch.float64 and grads[0].dtype is not torch.float64
    bad = (~torch.isfinite(squares)).to(dtype) if wider else any_nonfinite(grads, dtype)
    return {"grad_square": squares, "nonfinite": bad}


def in_full(
    grads: list[Tensor],
    before: list[Tensor],
    after: list[Tensor],
    costs: Sequence[Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """The statistics of a step.

    Args:
        grads: the gradients.
        before, after: the parameters; ``before`` may be written over.
        costs: those of rounding, of each parameter; empty where nothing is rounded.
    """
    dtype = number_dtype(grads[0].device)
    figures = {"nonfinite": count_nonfinite(grads, dtype)}
    update = torch._foreach_sub(after, before)
    for measure, order in (("square", 2.0), ("max", torch.inf)):
        values = norms([*grads, *before, *update], order, dtype)
        if measure == "square":
            values = values**2
        for name, part in zip(("grad", "param", "update"), values.chunk(3), strict=True):
            figures[f"{name}_{measure}"] = part
    if any(costs):
        none = grads[0].new_zeros((), dtype=dtype)
        for name in ROUNDING_STATISTICS:
            figures[name] = torch.stack([cost.get(name, none) for cost in costs])
    return figures


def table(figures: Mapping[str, Tensor], skip: Tensor | None) -> Tensor:
    """Statistics in their order, one row each; nothing of a step that is skipped."""
    some = next(iter(figures.values()))
    none, rest = torch.zeros_like(some), {"steps": torch.ones_like(some)}
    made = torch.stack([{**rest, **figures}.get(s.name, none) for s in STATISTICS])
    return made if skip is None else made.masked_fill_(skip, 0.0)
