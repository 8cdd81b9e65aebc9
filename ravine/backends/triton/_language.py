"""The functions that a printed kernel calls, in Triton; those of the formula language have its names there.

Their values at NaN, infinity and zero are those of ``formula/_operations.py``. In Triton's interpreter,
``_interpreted.py`` replaces what it cannot do or does otherwise than a GPU.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from triton.language.extra import libdevice

from ravine.formula._rounding import FIRST, GOLDEN, SECOND

_INF = tl.constexpr(float("inf"))
_FIRST, _SECOND, _GOLDEN = (tl.constexpr(x) for x in (FIRST, SECOND, GOLDEN))


@triton.jit
def _sqrt(x):  # type: ignore[no-untyped-def]
    """In float32 ``tl.sqrt`` is approximate, and so is ``/``."""
    return tl.sqrt(x) if x.dtype == tl.float64 else tl.sqrt_rn(x)


@triton.jit
def _div(a, b):  # type: ignore[no-untyped-def]
    return a / b if b.dtype == tl.float64 else tl.div_rn(a, b)


@triton.jit
def _pow(a, b):  # type: ignore[no-untyped-def]
    return libdevice.pow(a, b)


@triton.jit
def _cube_root(x):  # type: ignore[no-untyped-def]
    """``x ** (1 / 3)`` by fewer instructions; closer to the root than that with a third rounded to float32."""
    # Of a magnitude, since a power of -0 is 0. A constant NaN would be another one at every compilation.
    return tl.where(x < 0, tl.where(x == -_INF, _INF, x * _INF + _INF), libdevice.cbrt(tl.abs(x)))


@triton.jit
def _cube_root_by_pow(x):  # type: ignore[no-untyped-def]
    """The same for AMD, whose libdevice has no cube root in Triton."""
    return libdevice.pow(x, tl.full([], 0.3333333333333333, x.dtype))


@triton.jit
def _exp(x):  # type: ignore[no-untyped-def]
    return libdevice.exp(x)


@triton.jit
def _log(x):  # type: ignore[no-untyped-def]
    return libdevice.log(x)


@triton.jit
def _tanh(x):  # type: ignore[no-untyped-def]
    return libdevice.tanh(x)


@triton.jit
def _absolute(x):  # type: ignore[no-untyped-def]
    return tl.abs(x)


@triton.jit
def _sign(x):  # type: ignore[no-untyped-def]
    return tl.where(x != x, x, (x > 0).to(x.dtype) - (x < 0).to(x.dtype))


@triton.jit
def _floor(x):  # type: ignore[no-untyped-def]
    return tl.floor(x)


@triton.jit
def _isfinite(x):  # type: ignore[no-untyped-def]
    return tl.abs(x) < _INF


@triton.jit
def _isnan(x):  # type: ignore[no-untyped-def]
    return x != x


@triton.jit
def _logical_not(a):  # type: ignore[no-untyped-def]
    return a == 0


@triton.jit
def _minimum(a, b):  # type: ignore[no-untyped-def]
    if a.dtype == tl.float64:  # there is no such instruction
        return tl.where((a < b) | (a != a), a, b)
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _maximum(a, b):  # type: ignore[no-untyped-def]
    if a.dtype == tl.float64:
        return tl.where((a > b) | (a != a), a, b)
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _where(condition, a, b):  # type: ignore[no-untyped-def]
    return tl.where(condition, a, b)


# Rounding at random, with the bits of formula/_rounding.py.


@triton.jit
def _hashed(x):  # type: ignore[no-untyped-def]
    """Of 64 bits below 2^32, in which no product reaches 2^63."""
    x = ((x ^ (x >> 16)) * _FIRST) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * _SECOND) & 0xFFFFFFFF
    return x ^ (x >> 15)


@triton.jit
def _mixed(key, more):  # type: ignore[no-untyped-def]
    return _hashed((key.to(tl.int64) + ((more.to(tl.int64) * _GOLDEN) & 0xFFFFFFFF)) & 0xFFFFFFFF).to(tl.float64)


@triton.jit
def _random_bits(key, place, lane: tl.constexpr, lost: tl.constexpr):  # type: ignore[no-untyped-def]
    x = place.to(tl.uint32) * _GOLDEN + key.to(tl.int64).to(tl.uint32)
    x = (x ^ (x >> 16)) * _FIRST
    x = ((x ^ (x >> 15)) >> (16 * lane)) & 0xFFFF
    return x << (lost - 16) if lost >= 16 else x >> (16 - lost)


@triton.jit
def _cut(x, added, lost: tl.constexpr):  # type: ignore[no-untyped-def]
    mask: tl.constexpr = 0xFFFFFFFF - (1 << lost) + 1
    return tl.where(x != x, x, ((x.to(tl.uint32, bitcast=True) + added) & mask).to(tl.float32, bitcast=True))


@triton.jit
def _bfloat16_at(x, key, place, lane: tl.constexpr):  # type: ignore[no-untyped-def]
    return _cut(x.to(tl.float32), _random_bits(key, place, lane, 16), 16).to(x.dtype)


@triton.jit
def _float16_at(x, key, place, lane: tl.constexpr):  # type: ignore[no-untyped-def]
    real = x.dtype
    x = x.to(tl.float32)
    random = _random_bits(key, place, lane, 13)
    small = x * 16777216.0
    below = tl.floor(small)
    up = (random.to(tl.float32) < (small - below) * 8192.0).to(tl.float32)
    tiny = (below + up) * 0.000000059604644775390625
    return tl.where(x == 0, x, tl.where(tl.abs(x) < 0.00006103515625, tiny, _cut(x, random, 13))).to(real)


@triton.jit
def _float24_at_random0(x, key, place):  # type: ignore[no-untyped-def]
    return _cut(x.to(tl.float32), _random_bits(key, place, 0, 8), 8).to(x.dtype)


@triton.jit
def _float24_at_random1(x, key, place):  # type: ignore[no-untyped-def]
    return _cut(x.to(tl.float32), _random_bits(key, place, 1, 8), 8).to(x.dtype)


@triton.jit
def _float24_to_nearest(x, key, place):  # type: ignore[no-untyped-def]
    return _cut(x.to(tl.float32), 128, 8).to(x.dtype)


# A parameter with compensation, as formula/_compensation.py has it.


@triton.jit
def _moved(x, by):  # type: ignore[no-untyped-def]
    """Past 0 or infinity there are only NaN: then it stays."""
    made = (x.to(tl.int32, bitcast=True) + by).to(tl.float32, bitcast=True)
    return tl.where(made != made, x, made)


@triton.jit
def _with_rest(high, rest):  # type: ignore[no-untyped-def]
    return _moved(high.to(tl.float32), rest.to(tl.int32) << 8).to(high.dtype)


@triton.jit
def _with_low(x, low):  # type: ignore[no-untyped-def]
    return _moved(x.to(tl.float32), low.to(tl.int32) & 255).to(x.dtype)


@triton.jit
def _high_of(x, old):  # type: ignore[no-untyped-def]
    return _cut(x.to(tl.float32), 0x8000, 16).to(x.dtype)


@triton.jit
def _rest_of(x):  # type: ignore[no-untyped-def]
    rest = (x.to(tl.float32).to(tl.int32, bitcast=True) << 16) >> 24
    return tl.where(x == x, rest, 0).to(x.dtype)


@triton.jit
def _low_of(x):  # type: ignore[no-untyped-def]
    low = (x.to(tl.float32).to(tl.int32, bitcast=True) << 24) >> 24
    return tl.where(x == x, low, 0).to(x.dtype)


@triton.jit
def _bfloat16_at_random0(x, key, place):  # type: ignore[no-untyped-def]
    return _bfloat16_at(x, key, place, 0)


@triton.jit
def _bfloat16_at_random1(x, key, place):  # type: ignore[no-untyped-def]
    return _bfloat16_at(x, key, place, 1)


@triton.jit
def _float16_at_random0(x, key, place):  # type: ignore[no-untyped-def]
    return _float16_at(x, key, place, 0)


@triton.jit
def _float16_at_random1(x, key, place):  # type: ignore[no-untyped-def]
    return _float16_at(x, key, place, 1)


@triton.jit
def _widen(x, real: tl.constexpr):  # type: ignore[no-untyped-def]
    """What a tensor holds, as the type that the kernel computes in."""
    return x.to(real)


@triton.jit
def _narrow(x, dtype: tl.constexpr):  # type: ignore[no-untyped-def]
    """What a tensor of that dtype holds of a value, rounded to nearest even."""
    return x.to(dtype)


# A figure is a sum or a largest magnitude. Magnitudes are compared as integers, the bits of a float without its sign, of
# which NaN is the largest.


@triton.jit
def _magnitude(x):  # type: ignore[no-untyped-def]
    return tl.abs(x).to(tl.int64 if x.dtype == tl.float64 else tl.int32, bitcast=True)


@triton.jit
def _value(x):  # type: ignore[no-untyped-def]
    """A figure as a number."""
    return x.to(tl.float64 if x.dtype == tl.int64 else tl.float32, bitcast=True) if x.dtype.is_int() else x


@triton.jit
def _joined(a, b):  # type: ignore[no-untyped-def]
    return tl.maximum(a, b) if a.dtype.is_int() else a + b


@triton.jit
def _over(x, axis: tl.constexpr):  # type: ignore[no-untyped-def]
    """A figure over one axis."""
    return tl.max(x, axis) if x.dtype.is_int() else tl.sum(x, axis)


@triton.jit
def _within(x, vector: tl.constexpr):  # type: ignore[no-untyped-def]
    """A figure over the elements that one thread holds; threads meet once for each chunk."""
    return _over(tl.reshape(x, [x.shape[0] // vector, vector]), 1)


@triton.jit
def _within_rows(x, rows: tl.constexpr):  # type: ignore[no-untyped-def]
    """The same where a thread holds one element in each of so many rows."""
    return _over(tl.reshape(x, [rows, x.shape[0] // rows]), 0)


def scope(interpreted: bool, amd: bool) -> dict[str, Any]:
    """What a kernel's text finds under its names, in the interpreter or on a device."""
    known = {name[1:]: value for name, value in globals().items() if name.startswith("_") and callable(value)}
    known["abs"] = known.pop("absolute")
    by_pow = known.pop("cube_root_by_pow")
    if amd:
        known["cube_root"] = by_pow
    if interpreted:
        from ravine.backends.triton import _interpreted

        known |= _interpreted.scope()
    return {**known, "tl": tl, "INF": _INF}
