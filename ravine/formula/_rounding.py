"""Rounding at random: a value becomes one of the two 16-bit numbers around it, the nearer one more often, so that it is right on
average.

The random bits are a function of a key and of where an element stands in memory, by a hash of 32 bits. So every backend has the
same ones, whatever the number of threads, and a run that goes on has those of one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ravine.formula._pieces import Scalar
from ravine.formula._symbols import Symbol, kept, lift, number

if TYPE_CHECKING:
    from torch import Tensor

#: The number that is kept for each parameter where states are rounded at random.
KEY = "rounding_key"
_BITS = 0xFFFFFFFF
#: Of a hash in three rounds, found by a search for little bias (C. Wellons, hash-prospector); and the golden ratio's.
FIRST, SECOND, GOLDEN = 0x21F0AAAD, 0x735A2D97, 0x9E3779B1
#: Elements of random numbers, by the dtype that a value is rounded to: an operation that also takes where an element stands.
AT_RANDOM = {"bfloat16": "bfloat16_at_random", "float16": "float16_at_random"}


def rounded(
    new: Mapping[str, Any],
    states: Mapping[str, Any],
    narrow: Callable[[str, Any], str],
    kept_numbers: dict[str, Scalar],
) -> dict[str, Any]:
    """New values, of which those of some states are rounded at random; the key joins the numbers that are kept.

    Args:
        new: by name.
        states: the states, with their initial values.
        narrow: gives for each whether it is rounded at random, as the name of its dtype, else an empty text.
        kept_numbers: those that the formula keeps.
    """
    result = dict(new)
    chosen = {n: to for n, initial in states.items() if (to := narrow(n, initial)) and lift(new[n]).element}
    for i, (name, to) in enumerate(chosen.items()):
        own = Symbol("mixed", (kept(KEY), lift(float(i))))
        result[name] = Symbol(AT_RANDOM[to], (lift(new[name]), Symbol("mixed", (own, number("step")))))
    if chosen:
        kept_numbers[KEY] = Scalar(0.0)
        result[KEY] = kept(KEY)
    return result


def mixed(key: Any, more: Any) -> Any:
    """A number of 32 bits, as a float, that is another for every pair of whole numbers. Numbers, arrays or tensors."""
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


def _bits(x: Tensor, key: Any) -> Tensor:
    """Random bits for the elements of a tensor, int32: by their places in memory where they fill it, else in its order."""
    import torch

    place = torch.arange(x.numel(), dtype=torch.int64, device=x.device)
    strides, sizes = x.stride(), x.shape
    if sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) == x.numel() - 1 and min(strides, default=1) > 0:
        place = place.as_strided(sizes, strides)
    key = key.to(torch.int64) if isinstance(key, torch.Tensor) else int(key)
    return _hash((place.reshape(sizes) * GOLDEN + key) & _BITS)


def bfloat16_at_random(x: Tensor, key: Any) -> Tensor:
    """x as one of the two bfloat16 numbers around it, in float32. What is not finite stays."""
    import torch

    x = x.float()
    random = (_bits(x, key) & 0xFFFF).to(torch.int32)
    made = ((x.view(torch.int32) + random) & -0x10000).view(torch.float32)
    return torch.where(torch.isfinite(x), made, x)


def float16_at_random(x: Tensor, key: Any) -> Tensor:
    """x as one of the two float16 numbers around it, in float32. What is not finite stays."""
    import torch

    x = x.float()
    random = (_bits(x, key) & 0x1FFF).to(torch.int32)
    made = ((x.view(torch.int32) + random) & -0x2000).view(torch.float32)
    # Below 2^-14 float16 has no more than multiples of 2^-24.
    small = x * 2.0**24
    below = small.floor()
    up = random < (small - below) * 8192.0
    made = torch.where(x.abs() < 2.0**-14, (below + up) * 2.0**-24, made)
    return torch.where(torch.isfinite(x) & (x != 0), made, x)
