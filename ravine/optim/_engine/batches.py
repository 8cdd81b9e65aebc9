"""Sorts the parameters of a group into batches: by backend, dtypes, layout and device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from ravine import backends
from ravine.backends import Batch, States, compute_dtype
from ravine.backends._eager import Eager
from ravine.backends._eight_bits import SCALES, is_code
from ravine.backends._foreach import Foreach
from ravine.backends._jobs import traffic_of_jobs
from ravine.backends._sharded import Sharded, layout, part
from ravine.backends._sparse_rows import is_sparse
from ravine.backends._whole import Whole
from ravine.backends.triton import missing
from ravine.formula import Program
from ravine.optim._engine.kernels import kernel_batch, needs_whole, sparse_batch, warn_once
from ravine.optim._engine.prepare import PreparedParam


def batches_of(
    program: Program,
    prepared: Sequence[PreparedParam],
    state: Mapping[Tensor, dict[str, Any]],
    fused: bool | None,
    buffer_size: int,
) -> Iterator[Batch]:
    """The parameters of a group as batches; those that are split over processes are one batch."""
    whole = [PreparedParam(each.param, state[each.param], each.reason) for each in prepared if not layout(each.param)]
    for _, batch in _by_backend(program, whole, fused, buffer_size):
        yield batch
    if split := [each for each in prepared if layout(each.param)]:
        params, states = [each.param for each in split], [state[each.param] for each in split]
        if needs_whole(program):

            def make(copies: Sequence[Tensor], copied: Sequence[States]) -> list[tuple[list[int], Batch]]:
                whole = [PreparedParam(p, s, e.reason) for p, s, e in zip(copies, copied, split, strict=True)]
                return list(_by_backend(program, whole, fused, buffer_size))

            yield Whole(program, params, states, make)
            return
        here = [
            PreparedParam(part(each.param), {n: part(each.states[n]) for n in _names(program, each)}, each.reason)
            for each in split
        ]
        parts = list(_by_backend(program, here, fused, buffer_size))
        yield Sharded(program, params, states, [each.param for each in here], parts)


def _names(program: Program, prepared: PreparedParam) -> list[str]:
    """The states of a parameter, and the scales of those that are codes."""
    return [n for name in program.states for n in (name, name + SCALES) if n in prepared.states]


def _by_backend(
    program: Program, prepared: Sequence[PreparedParam], fused: bool | None, buffer_size: int
) -> Iterator[tuple[list[int], Batch]]:
    """Batches with the indices of their parameters: kernels by dtypes and layout, torch's operations by device."""
    kernels: dict[Any, list[int]] = defaultdict(list)
    sparse: dict[Any, list[int]] = defaultdict(list)
    eager: dict[Any, list[int]] = defaultdict(list)
    for i, each in enumerate(prepared):
        p, grad = each.param, each.param.grad
        if grad is not None and is_sparse(grad):
            kernel = not (each.reason or fused is False) and backends.on_host(p.device)
            states = [each.states[n].dtype for n in program.states]
            sparse[kernel, p.device, grad.dtype, p.dtype, *states].append(i)
        elif each.reason or fused is False:
            eager[p.device, fused is not False and _listed(each, program)].append(i)
            if fused is None and p.device.type == "cuda" and missing(p.device):
                warn_once(f"no kernel can step tensors on {p.device}: {missing(p.device)}")
        else:
            dtypes = [each.states[n].dtype for n in program.states]
            kind = p.dtype if grad is None else grad.dtype, p.device, p.dtype, *dtypes, p.is_contiguous()
            kernels[kind].append(i)
    params, states = [each.param for each in prepared], [each.states for each in prepared]
    for key, indices in sparse.items():
        chosen = [params[i] for i in indices], [states[i] for i in indices]
        yield indices, sparse_batch(program, *chosen, key[2] if key[0] else None, fused, buffer_size)
    for key, indices in kernels.items():
        chosen = [params[i] for i in indices], [states[i] for i in indices]
        yield indices, kernel_batch(program, *chosen, key[0], fused, buffer_size)
    for (_, listed), indices in eager.items():
        made = Foreach if listed else Eager
        yield indices, made(program, [params[i] for i in indices], [states[i] for i in indices], buffer_size)


def _listed(each: PreparedParam, program: Program) -> bool:
    """Whether torch's operations on lists take a parameter: on a device, plain, and no state codes of 8 bits."""
    if any(is_code(each.states[name].dtype, name) for name in program.states):
        return False  # each has a scale for every block, which lists do not know
    tensors = [each.param, *(each.states[name] for name in program.states)]
    tensors += [each.param.grad] if each.param.grad is not None else []
    plain = all(type(t) in (Tensor, Parameter) and t.layout is torch.strided for t in tensors)
    plain = plain and not any(t.is_neg() or t.is_conj() for t in tensors)  # torch does not write to lists of such
    return plain and not needs_whole(program) and not backends.on_host(each.param.device)


def bytes_moved(batch: Batch) -> int:
    """Bytes that a step of a batch reads and writes."""
    moved, program = 0, batch.program
    traffic = traffic_of_jobs if program.along else Program.traffic
    for p, states in zip(batch.params, batch.states, strict=True):
        sizes = {"param": p.element_size(), "grad": p.element_size()}
        sizes |= {n: states[n].element_size() for n in program.states}
        sizes |= dict.fromkeys(program.temporaries, compute_dtype([p.dtype]).itemsize)
        moved += p.numel() * traffic(program, sizes)
    return moved
