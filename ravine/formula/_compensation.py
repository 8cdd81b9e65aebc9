"""Parameters in 16 bits that learn: bfloat16 for the model, and beside it what was rounded off, one byte or two.

A float32 ``x`` is kept as the nearest bfloat16 (of two as near the one farther from 0), ``high``, and the bits of ``x`` less those
of ``high``, a whole number with a sign: its upper byte, ``rest``, and its lower one, ``low``. All together they are ``x`` exactly;
without ``low`` they are an ``x`` of 24 bits. A NaN has no rest. Whoever writes to the bfloat16 alone leaves the rest as it is, less
than half of its last bit; what no float32 has, a rest that would lead past 0 or infinity, counts as none. They are bytes, since
processes can send each other no whole numbers of 16 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ravine.formula._symbols import Symbol, buffer

if TYPE_CHECKING:
    from torch import Tensor

#: The states that hold what was rounded off a parameter: no formula has such names.
REST, LOW = "param.rest", "param.rest.low"


def rests_of(param_bits: object) -> tuple[str, ...]:
    """The states of a bfloat16 parameter that has so many bits in all."""
    return {24: (REST,), 32: (REST, LOW)}.get(param_bits, ()) if isinstance(param_bits, int) else ()


def whole_param(rests: Sequence[str]) -> Symbol:
    """The parameter as the formula sees it, with these states beside it."""
    made = buffer("param")
    for name in rests:
        made = Symbol("with_rest" if name == REST else "with_low", (made, buffer(name)))
    return made


def is_rest(name: str) -> bool:
    """Whether a state is one of those."""
    return name in (REST, LOW)


def parts_of(new: Symbol, rests: Sequence[str]) -> dict[str, Symbol]:
    """What is written for a new value of the parameter, by the names of the buffers.

    The bfloat16 has the old value beside the new one, for those who watch a step: what that adds is mostly below the bfloat16,
    and a watch that looked at that alone would see jumps.
    """
    states = {name: Symbol("rest_of" if name == REST else "low_of", (new,)) for name in rests}
    return {"param": Symbol("high_of", (new, whole_param(rests))), **states}


def watched(results: Sequence[Symbol]) -> list[Symbol]:
    """Of a parameter with compensation the whole after a step and before it, among what a pass writes; else nothing."""
    return next((list(s.args) for s in results if s.op == "high_of"), [])


def with_rest(high: Tensor, rest: Tensor) -> Tensor:
    """A float32 with its upper byte of compensation."""
    import torch

    return _moved(high.float(), rest.to(torch.int32) << 8)


def with_low(x: Tensor, low: Tensor) -> Tensor:
    """That with its lower byte."""
    import torch

    return _moved(x.float(), low.to(torch.int32) & 255)


def _moved(x: Tensor, by: Tensor) -> Tensor:
    """A float32 whose bits, as a whole number, are so many more; past 0 or infinity there are only NaN: then it stays."""
    import torch

    made = (x.view(torch.int32) + by).view(torch.float32)
    return torch.where(made.isnan(), x, made)


def high_of(x: Tensor, old: Any = None) -> Tensor:
    """What a model sees of float32, as float32; what the value was before does not count."""
    import torch

    made = ((x.float().view(torch.int32) + 0x8000) & -0x10000).view(torch.float32)
    return torch.where(x.isnan(), torch.nan, made)


def _byte(x: Tensor, place: int) -> Tensor:
    """A byte of float32 with its sign, int32; the lowest is at 0."""
    import torch

    made = x.float().view(torch.int32) << (24 - 8 * place) >> 24
    return torch.where(x.isnan(), 0, made)


def rest_of(x: Tensor) -> Tensor:
    """The upper byte of what ``high_of`` leaves off."""
    return _byte(x, 1)


def low_of(x: Tensor) -> Tensor:
    """The lower byte of it."""
    return _byte(x, 0)


def split(x: Tensor, rests: Sequence[str]) -> dict[str, Tensor]:
    """The parts of float32 by their names, as float32 and int32; what they do not hold is rounded to the nearest."""
    import torch

    if LOW not in rests:
        made = ((x.float().view(torch.int32) + 128) & -256).view(torch.float32)
        x = torch.where(x.isnan(), torch.nan, made)
    return {"param": high_of(x), **{name: rest_of(x) if name == REST else low_of(x) for name in rests}}


def whole(high: Tensor, states: Mapping[str, Tensor]) -> Tensor:
    """The float32 that a parameter and its states are together."""
    made = with_rest(high, states[REST])
    return with_low(made, states[LOW]) if LOW in states else made


def compensation_functions() -> dict[str, Callable[..., Any]]:
    """The operations, by their names, as functions of tensors of the dtype that is computed in."""

    def made(function: Callable[..., Tensor]) -> Callable[..., Any]:
        return lambda x, *more: function(x, *more).to(x.dtype)

    return {function.__name__: made(function) for function in (with_rest, with_low, high_of, rest_of, low_of)}
