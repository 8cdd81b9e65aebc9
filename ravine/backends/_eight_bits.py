"""States of 8 bits: codes of a byte for blocks of up to 256 elements, each with a scale of its own in float32.

Blocks follow the order of memory. Where that is the order of rows (of what one index of the first dimension names), a block is a part
of one, so that processes that share a tensor by its rows have whole blocks; scales have the shape (rows, blocks of a row). One
dimension is blocks of 256, the last as long as it is.

A code is a small floating-point number relative to the scale: four bits of exponent and, of a signed one, a sign and three bits
behind the first; of squares, whose root is kept, four bits. The scale is the power of two below the block's largest magnitude, so
values that were rounded to so many bits (``formula/_rounding.py``) are kept exactly, whatever they were multiplied with, down to
2^-15 of the scale. Below, a signed one becomes 0, and a root the least code, since steps divide by it. What is not finite becomes
0: a block does not suffer from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ravine.backends._sharded import layout, part
from ravine.formula._compensation import is_rest

BLOCK, _SHORTEST = 256, 16
#: The dtypes of codes: of states with a sign, and of squares.
SIGNED, SQUARES = torch.int8, torch.uint8
#: What is added to the name of a state for that of its scales: no formula has such a name.
SCALES = ".scale"
#: float32's bits of 2^-15, which a code of 0 would mean, and how many bits are behind those of a code.
LEAST, CUT = 112 << 23, {SIGNED: 20, SQUARES: 19}


def is_code(dtype: torch.dtype, name: str = "") -> bool:
    """Whether a state of this dtype is codes; the compensation of a parameter is numbers of 8 bits."""
    return dtype in CUT and not is_rest(name)


@cache
def block_size(shape: tuple[int, ...]) -> int:
    """How long the blocks of a tensor are; 0: its rows are too short, or cannot be cut into equal blocks that are long enough."""
    if len(shape) < 2:
        return BLOCK
    row = math.prod(shape[1:])
    longest = next((size for size in range(BLOCK, _SHORTEST - 1, -1) if row and row % size == 0), 0)
    return longest


def scales_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the scales of a tensor."""
    size = block_size(shape)
    if not size:
        return ()
    return (shape[0], math.prod(shape[1:]) // size) if len(shape) > 1 else (-(-math.prod(shape) // size),)


def empty_scales(codes: Tensor) -> Tensor:
    """The scales of codes that are all 0; split over processes as they are."""
    shape = scales_shape(tuple(codes.shape))
    if not layout(codes):
        return torch.zeros(shape, dtype=torch.float32, device=codes.device)
    from torch.distributed.tensor import DTensor

    here = empty_scales(part(codes))
    mesh, placements = layout(codes)
    return DTensor.from_local(here, mesh, placements, run_check=False, shape=torch.Size(shape), stride=(shape[-1], 1))


def flat(tensor: Tensor) -> Tensor:
    """The elements in the order in which they lie in memory; a view, of a tensor that fills its memory."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))


def _for_each(scales: Tensor, codes: Tensor) -> Tensor:
    """What each block has, for each of its elements."""
    return scales.reshape(-1).repeat_interleave(block_size(tuple(codes.shape)))[: codes.numel()]


def decode(codes: Tensor, scales: Tensor) -> Tensor:
    """The values of codes, float32, laid out as they are."""
    raw = flat(codes).view(torch.uint8).to(torch.int32)
    if codes.dtype is SQUARES:
        made = ((raw << CUT[SQUARES]) + LEAST).view(torch.float32)
        made = torch.where(raw == 0, 0.0, made)
    else:
        size = raw & 127
        made = ((size << CUT[SIGNED]) + LEAST).view(torch.float32)
        made = torch.where(size == 0, 0.0, torch.where(raw > 127, -made, made))
    made = made * _for_each(scales, codes)
    if codes.dtype is SQUARES:
        made = made * made
    result = torch.empty_like(codes, dtype=torch.float32)
    flat(result).copy_(made)
    return result


@torch.no_grad()
def decoded(codes: Tensor, scales: Tensor) -> Tensor:
    """The same of codes that may be split over processes."""
    if not layout(codes):
        return decode(codes, scales)
    made = torch.empty_like(codes, dtype=torch.float32)
    part(made).copy_(decode(part(codes), part(scales)))
    return made


def values_of(states: Mapping[str, Tensor], name: str) -> Tensor:
    """A state, or what its codes mean."""
    state = states[name]
    return decoded(state, states[name + SCALES]) if is_code(state.dtype, name) else state


@torch.no_grad()
def encode(values: Tensor, codes: Tensor, scales: Tensor, skip: Any = None) -> None:
    """Write the codes and scales of values that were rounded to what codes hold; where ``skip`` is true, nothing."""
    laid_out = torch.empty_like(codes, dtype=torch.float32).copy_(values)
    x = flat(laid_out)
    x = torch.where(x.isfinite(), x, 0.0)
    if codes.dtype is SQUARES:
        x = x.sqrt()
    size = block_size(tuple(codes.shape))
    padded = torch.nn.functional.pad(x.abs(), (0, scales.numel() * size - len(x)))
    maxima = (padded.view(-1, size).amax(1) if len(padded) else padded).view(scales.shape)
    new_scales = (maxima.view(torch.int32) & 0x7F800000).view(torch.float32)
    inverse = torch.where(new_scales > 0, 1 / new_scales, 0.0)
    ratio = x * _for_each(inverse, codes)
    code = (ratio.abs().view(torch.int32) - LEAST) >> CUT[codes.dtype]
    if codes.dtype is SQUARES:
        code = torch.where(ratio > 0, code.clamp(min=1), 0)
    else:
        code = code.clamp(min=0) | torch.where(ratio.signbit(), 128, 0)
    made = code.to(torch.uint8).view(codes.dtype)
    if skip is not None:
        made = torch.where(skip, flat(codes), made)
        new_scales = torch.where(skip, scales, new_scales)
    flat(codes).copy_(made)
    scales.copy_(new_scales)
