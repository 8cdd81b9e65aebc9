"""Parameters in 16 bits that learn: bfloat16 for the model, and beside it what was rounded off, in 16 or 8 bits.

A float32 ``x`` is kept as the nearest bfloat16 (of two as near the one farther from 0), ``high``, and the bits of ``x`` less
those of ``high``, as a whole number with a sign, ``rest``: of 16 bits, so that both together are ``x`` exactly; or of 8, for
an ``x`` of 24 bits. A NaN has no rest. Whoever writes to the bfloat16 alone changes ``x`` by less than half of its last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ravine.formula._operations import COMPENSATIONS
from ravine.formula._symbols import Symbol, buffer, postorder

if TYPE_CHECKING:
    from torch import Tensor

#: The state that holds what was rounded off a parameter: no formula has such a name.
REST = "param.rest"


def whole_param(bits: int) -> Symbol:
    """The parameter as the formula sees it, with so many bits of compensation."""
    return Symbol(f"whole_of_{bits}", (buffer("param"), buffer(REST)))


def parts_of(new: Symbol, bits: int) -> dict[str, Symbol]:
    """What is written for a new value of the parameter, by the names of the buffers."""
    return {"param": Symbol(f"high_of_{bits}", (new,)), REST: Symbol(f"rest_of_{bits}", (new,))}


def is_high(symbol: Symbol) -> bool:
    """Whether a new value is the bfloat16 of a parameter that has compensation; its argument is the whole."""
    return symbol.op.startswith("high_of_")


def watched(results: Sequence[Symbol]) -> list[Symbol]:
    """Of a parameter with compensation the whole after a step and before it, among what a pass writes; else nothing.

    What a step adds is mostly below the bfloat16, and a watch that looked at that alone would see jumps.
    """
    after = [s.args[0] for s in results if is_high(s)]
    before = [s for s in postorder(results) if s.op.startswith("whole_of_")]
    return [*after, *before] if len(after) == len(before) == 1 else []


def whole(high: Tensor, rest: Tensor, bits: int) -> Tensor:
    """The float32 that two tensors hold together; each may be of any dtype that holds its values."""
    import torch

    return (high.float().view(torch.int32) + (rest.to(torch.int32) << (16 - bits))).view(torch.float32)


def high_of(x: Tensor) -> Tensor:
    """What a model sees of float32, as float32."""
    import torch

    made = ((x.float().view(torch.int32) + 0x8000) & -0x10000).view(torch.float32)
    return torch.where(x.isnan(), torch.nan, made)


def rest_of(x: Tensor, bits: int) -> Tensor:
    """What that leaves off, int32; of 8 bits: of values that have no more than 24."""
    import torch

    rest = (x.float().view(torch.int32) << 16 >> 16) >> (16 - bits)
    return torch.where(x.isnan(), 0, rest)


def split(x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The bfloat16 and the compensation of float32, as float32 and int32; what neither holds is rounded to the nearest."""
    import torch

    if bits == 8:
        made = ((x.float().view(torch.int32) + 128) & -256).view(torch.float32)
        x = torch.where(x.isnan(), torch.nan, made)
    return high_of(x), rest_of(x, bits)


def compensation_functions() -> dict[str, Callable[..., Any]]:
    """The operations, by their names, as functions of tensors."""

    def made(bits: int) -> dict[str, Callable[..., Any]]:
        return {
            f"whole_of_{bits}": lambda high, rest: whole(high, rest, bits).to(high.dtype),
            f"high_of_{bits}": lambda x: high_of(x).to(x.dtype),
            f"rest_of_{bits}": lambda x: rest_of(x, bits).to(x.dtype),
        }

    return {name: function for bits in COMPENSATIONS for name, function in made(bits).items()}
