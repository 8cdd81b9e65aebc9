"""Sorts the parameters of a group into batches: by backend, dtypes, layout and device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ravine.backends import Batch
from ravine.backends._eager import Eager
from ravine.backends._sharded import Sharded, layout, part
from ravine.backends.cpu import Fused
from ravine.formula import Program
from ravine.optim._engine.prepare import Member


def batches_of(
    program: Program,
    members: Sequence[Member],
    state: Mapping[Tensor, dict[str, Any]],
    fused: bool | None,
    buffer_size: int,
) -> Iterator[Batch]:
    """The members of a group as batches; those that are split over processes are one batch."""
    whole = [Member(m.param, state[m.param], m.reason) for m in members if not layout(m.param)]
    for _, batch in _by_backend(program, whole, fused, buffer_size):
        yield batch
    if split := [m for m in members if layout(m.param)]:
        params, states = [m.param for m in split], [state[m.param] for m in split]
        here = [Member(part(m.param), {n: part(m.states[n]) for n in program.states}, m.reason) for m in split]
        parts = list(_by_backend(program, here, fused, buffer_size))
        yield Sharded(program, params, states, [m.param for m in here], parts)


def _by_backend(
    program: Program, members: Sequence[Member], fused: bool | None, buffer_size: int
) -> Iterator[tuple[list[int], Batch]]:
    """Batches with the indices of their members: kernels by dtypes and layout, eager by device."""
    kernels: dict[Any, list[int]] = defaultdict(list)
    eager: dict[Any, list[int]] = defaultdict(list)
    for i, m in enumerate(members):
        p, grad = m.param, m.param.grad
        if m.reason or fused is False:
            eager[p.device].append(i)
        else:
            dtypes = [m.states[n].dtype for n in program.states]
            kernels[p.dtype if grad is None else grad.dtype, p.dtype, *dtypes, p.is_contiguous()].append(i)
    params, states = [m.param for m in members], [m.states for m in members]
    for key, indices in kernels.items():
        yield indices, Fused(program, [params[i] for i in indices], [states[i] for i in indices], key[0], buffer_size)
    for indices in eager.values():
        yield indices, Eager(program, [params[i] for i in indices], [states[i] for i in indices], buffer_size)
