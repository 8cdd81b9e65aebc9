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


# Whether elements are finite: 0 times NaN and infinity is NaN, a sum keeps it, and so does the largest magnitude but on MPS,
# where torch's looks past NaN. A sum of squares can also be infinite of finite numbers, if it is not in double precision.


def any_nonfinite(grads: list[Tensor], dtype: torch.dtype) -> Tensor:
    """1 for every tensor with an element that is NaN or infinite, else 0."""
    if dtype is torch.float64:
        return (~torch.isfinite(norms(grads, torch.inf, dtype))).to(dtype)
    return (~torch.isfinite(norms(torch._foreach_mul(grads, 0.0), 2, dtype))).to(dtype)


def count_nonfinite(grads: list[Tensor], dtype: torch.dtype) -> Tensor:
    """How many elements of every tensor are NaN or infinite."""
    # The "norm" of order 0 counts what is not 0. torch launches it for each tensor.
    return torch.stack(torch._foreach_norm(torch._foreach_mul(grads, 0.0), 0)).to(dtype)


def of_gradients(grads: list[Tensor]) -> dict[str, Tensor]:
    """The statistics of a step that is looked at in brief, which reads no more than gradients; ``nonfinite`` is 1 for any."""
    dtype = number_dtype(grads[0].device)
    squares = norms(grads, 2, dtype) ** 2
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
        before, after: the parameters; ``before`` is written over.
        costs: those of rounding, of each parameter; empty where nothing is rounded.
    """
    dtype = number_dtype(grads[0].device)
    figures = {"nonfinite": count_nonfinite(grads, dtype)}
    figures |= _sizes(("grad", "param"), [*grads, *before], dtype)
    torch._foreach_sub_(before, after)
    figures |= _sizes(("update",), before, dtype)
    if any(costs):
        none = grads[0].new_zeros((), dtype=dtype)
        for name in ROUNDING_STATISTICS:
            figures[name] = torch.stack([cost.get(name, none) for cost in costs])
    return figures


def _sizes(names: Sequence[str], tensors: Sequence[Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Squares and largest magnitudes of lists of one length, one after the other."""
    measures = {"square": norms(tensors, 2, dtype) ** 2, "max": norms(tensors, torch.inf, dtype)}
    return {
        f"{name}_{measure}": part
        for measure, values in measures.items()
        for name, part in zip(names, values.chunk(len(names)), strict=True)
    }


def table(figures: Mapping[str, Tensor], skip: Tensor | None) -> Tensor:
    """Statistics in their order, one row each; nothing of a step that is skipped."""
    some = next(iter(figures.values()))
    none, rest = torch.zeros_like(some), {"steps": torch.ones_like(some)}
    made = torch.stack([{**rest, **figures}.get(s.name, none) for s in STATISTICS])
    return made if skip is None else made.masked_fill_(skip, 0.0)
