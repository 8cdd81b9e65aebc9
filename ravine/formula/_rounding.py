"""Rounding at random: a value becomes one of the two 16-bit numbers around it, the nearer one more often, so that it is right on
average.

The random bits are a function of a key and of where an element stands in memory, by a hash of 32 bits. So every backend has the
same ones, whatever the number of threads, and a run that goes on has those of one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ravine.formula._operations import ROUNDED_BITS as CUT
from ravine.formula._operations import ROUNDINGS
from ravine.formula._pieces import Scalar
from ravine.formula._symbols import Symbol, kept, lift, number

if TYPE_CHECKING:
    from torch import Tensor

#: The number that is kept for each parameter where states are rounded: no name that a formula could have.
KEY = "rounding.key"
_BITS = 0xFFFFFFFF
#: Of a hash in three rounds, found by a search for little bias (C. Wellons, hash-prospector); and the golden ratio's.
FIRST, SECOND, GOLDEN = 0x21F0AAAD, 0x735A2D97, 0x9E3779B1


class Narrow(Protocol):
    """Says what is kept in fewer bits than it is computed in.

    Attributes:
        param_bits: how bfloat16 parameters learn: ``"stochastic"``, or with compensation, of 24 or 32 bits in all; None: as others.
        at_random: whether values are rounded to the numbers around them by chance.
    """

    @property
    def param_bits(self) -> Literal["stochastic", 24, 32] | None: ...

    @property
    def at_random(self) -> bool: ...

    def __hash__(self) -> int: ...

    def __call__(self, name: str, initial: Any, of_bfloat16: bool = False) -> tuple[str, bool]:
        """To which of ``ROUNDED_BITS`` a state is rounded, or an empty text, and whether at random; of parameters that learn so."""


def rounded(
    new: Mapping[str, Any],
    kinds: Mapping[str, tuple[str, bool]],
    kept_numbers: dict[str, Scalar],
) -> dict[str, Any]:
    """New values, of which some are rounded; the key joins the numbers that are kept.

    Args:
        new: by name.
        kinds: of some to which of ``ROUNDED_BITS`` they are rounded, or an empty text, and whether at random.
        kept_numbers: those that the formula keeps.
    """
    result, drawn = dict(new), 0
    for name, (kind, at_random) in kinds.items():
        if not kind or not lift(new[name]).element:
            continue
        # Two states share the 32 bits of an element.
        key = Symbol("mixed", (Symbol("mixed", (kept(KEY), lift(float(drawn // 2)))), number("step")))
        how = f"at_random{drawn % 2}" if at_random else "to_nearest"
        result[name] = Symbol(f"{kind}_{how}", (lift(new[name]), key))
        drawn += at_random
        kept_numbers[KEY] = Scalar(0.0)
        result[KEY] = kept(KEY)
    return result


def as_stored(results: Sequence[Symbol], writes: Sequence[str], wide: Callable[[str], bool]) -> list[Symbol]:
    """What a pass computes, without the rounding of states that are kept wide: those of tensors with few elements."""
    before = len(results) - len(writes)
    kept_as = [s.args[0] if s.op in ROUNDINGS and wide(b) else s for s, b in zip(results[before:], writes, strict=True)]
    return [*results[:before], *kept_as]


def mixed(key: Any, more: Any) -> Any:
    """A number of 32 bits, as a float, that is another for every pair of whole numbers. Of numbers, arrays or tensors."""
    import numpy as np

    if isinstance(key, float | int) and isinstance(more, float | int):
        return float(_hash((int(key) + int(more) * GOLDEN) & _BITS))
    if isinstance(key, np.ndarray | np.generic | float | int) and isinstance(
        more, np.ndarray | np.generic | float | int
    ):
        key, more = (np.asarray(x, dtype=np.int64) for x in (key, more))
        return _hash((key + (more * GOLDEN & _BITS)) & _BITS).astype(np.float64)
    import torch

    like = key if isinstance(key, torch.Tensor) else more
    key, more = (torch.as_tensor(x, device=like.device).to(torch.int64) for x in (key, more))
    return _hash((key + (more * GOLDEN & _BITS)) & _BITS).to(like.dtype)


def _hash(x: Any) -> Any:
    """Of numbers below 2^32 as integers of 64 bits: no product reaches 2^63."""
    x = ((x ^ (x >> 16)) * FIRST) & _BITS
    x = ((x ^ (x >> 15)) * SECOND) & _BITS
    return x ^ (x >> 15)


def _bits(x: Tensor, key: Any, lane: int) -> Tensor:
    """16 random bits for the elements of a tensor: by their places in memory where they fill it, else in its order."""
    import torch

    place = torch.arange(x.numel(), dtype=torch.int64, device=x.device)
    strides, sizes = x.stride(), x.shape
    if sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) == x.numel() - 1 and min(strides, default=1) > 0:
        place = place.as_strided(sizes, strides)
    key = key.to(torch.int64) if isinstance(key, torch.Tensor) else int(key)
    bits = (place.reshape(sizes) * GOLDEN + key) & _BITS
    bits = ((bits ^ (bits >> 16)) * FIRST) & _BITS
    return ((bits ^ (bits >> 15)) >> (16 * lane) & 0xFFFF).to(torch.int32)


def _cut(x: Tensor, added: Tensor | int, lost: int) -> Tensor:
    """A float32 without its last bits, after so much was added to them; infinity and NaN stay what they are."""
    import torch

    made = ((x.view(torch.int32) + added) & -(1 << lost)).view(torch.float32)
    return torch.where(x.isnan(), torch.nan, made)


def _scaled(bits: Tensor, lost: int) -> Tensor:
    """16 random bits as so many."""
    return bits << (lost - 16) if lost >= 16 else bits >> (16 - lost)


def _to_kind(kind: str, x: Tensor, bits: Tensor | None) -> Tensor:
    import torch

    lost = CUT[kind]
    added = 1 << (lost - 1) if bits is None else _scaled(bits, lost)
    if kind == "squares":  # the square of a rounded root
        root = _cut(x.sqrt(), added, lost)
        return torch.where(x > 0, root * root, x)
    if kind != "float16" or bits is None:
        return _cut(x, added, lost)
    # Below 2^-14 float16 has no more than multiples of 2^-24.
    small = x * 2.0**24
    below = small.floor()
    up = _scaled(bits, lost) < (small - below) * 8192.0
    made = torch.where(x.abs() < 2.0**-14, (below + up) * 2.0**-24, _cut(x, added, lost))
    return torch.where(x == 0, x, made)


def rounding_functions() -> dict[str, Callable[[Tensor, Any], Tensor]]:
    """The operations that round, by their names, as functions of a tensor and a key."""

    def made(name: str) -> Callable[[Tensor, Any], Tensor]:
        kind, _, how = name.partition("_")

        def call(x: Tensor, key: Any) -> Tensor:
            return _to_kind(kind, x.float(), None if how == "to_nearest" else _bits(x, key, int(how[-1]))).to(x.dtype)

        return call

    return {name: made(name) for name in ROUNDINGS}
