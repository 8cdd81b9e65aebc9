"""What a formula's result can be, in NumPy's doubles: for each element the interval of values that rounding allows.

Independent of the library's functions. A value computed from exact ones is exact or off by its rounding; where the
outcome of a comparison lies within the rounding, both outcomes are possible, and the interval spans both results. So
a kernel and torch's operations are held to the digits that they can have, and a sign may flip only where the exact
value is within the rounding of zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

Array = np.ndarray
INF = np.inf


@dataclass(frozen=True)
class Precision:
    """A floating-point type in which operations are computed."""

    unit: float  # half of the distance from 1 to the next number
    largest: float
    smallest: float
    type: type[np.floating]


SINGLE = Precision(2.0**-24, float(np.finfo(np.float32).max), 2.0**-149, np.float32)
DOUBLE = Precision(2.0**-53, float(np.finfo(np.float64).max), 2.0**-1074, np.float64)


@dataclass(frozen=True)
class Interval:
    """Between ``low`` and ``high``; not a number where ``nan`` says that it may be; only that where low is above high."""

    low: Array
    high: Array
    nan: Array

    @property
    def point(self) -> Array:
        """Where the value is known exactly."""
        return ((self.low == self.high) & ~self.nan) | self.empty

    @property
    def value(self) -> Array:
        """The value where it is known exactly."""
        return np.where(self.empty, np.nan, self.low)

    def contains(self, value: float | Array) -> Array:
        return (self.low <= value) & (self.high >= value)

    @property
    def empty(self) -> Array:
        """Where it is not a number."""
        return self.low > self.high

    @property
    def infinite(self) -> Array:
        return self.contains(INF) | self.contains(-INF)


@dataclass(frozen=True)
class Truth:
    """A truth value, which may be both where the numbers it compares are too near."""

    true: Array
    false: Array


def exact(values: object) -> Interval:
    """Values that are known."""
    x = np.asarray(values, dtype=np.float64)
    nan = np.isnan(x)
    return Interval(np.where(nan, INF, x), np.where(nan, -INF, x), nan)


def union(a: Interval, b: Interval) -> Interval:
    return Interval(np.minimum(a.low, b.low), np.maximum(a.high, b.high), a.nan | b.nan)


def choose(condition: Array, a: Interval, b: Interval) -> Interval:
    low, high = np.where(condition, a.low, b.low), np.where(condition, a.high, b.high)
    return Interval(low, high, np.where(condition, a.nan, b.nan))


def anything(nan: Array | bool) -> Interval:
    return Interval(*np.broadcast_arrays(-INF, INF, nan))


NOTHING = exact(np.nan)


def _hull(corners: Sequence[Array], nan: Array) -> Interval:
    """Around all corners that are numbers."""
    stacked = np.stack(np.broadcast_arrays(*corners))
    missing = np.isnan(stacked)
    if not missing.any():
        return Interval(stacked.min(0), stacked.max(0), nan | missing[0])
    low, high = np.where(missing, INF, stacked).min(0), np.where(missing, -INF, stacked).max(0)
    return Interval(low, high, nan | missing.any(0))


def _clip(x: Interval, p: Precision) -> Interval:
    """Beyond the largest number lies infinity."""
    if max(np.abs(x.low).max(initial=0.0), np.abs(x.high).max(initial=0.0)) <= p.largest:
        return x
    low = np.where(x.low < -p.largest, -INF, x.low)
    high = np.where(x.high > p.largest, INF, x.high)
    low = np.minimum(low, np.where(np.isinf(x.low), low, p.largest))
    high = np.maximum(high, np.where(np.isinf(x.high), high, -p.largest))
    return choose(x.empty, NOTHING, Interval(low, high, x.nan))


def _widen(x: Interval, p: Precision, units: float) -> Interval:
    low = np.nextafter(x.low - (units * p.unit * np.abs(x.low) + p.smallest), -INF)
    high = np.nextafter(x.high + (units * p.unit * np.abs(x.high) + p.smallest), INF)
    known = Interval(np.where(np.isinf(x.low), x.low, low), np.where(np.isinf(x.high), x.high, high), x.nan)
    return _clip(known, p)


def rounded(x: Interval, p: Precision) -> Interval:
    """Rounded to a type: exactly where the value is known."""
    with np.errstate(all="ignore"):
        return choose(x.point, exact(x.value.astype(p.type)), _widen(x, p, 1.0))


def _all(conditions: Iterable[Array]) -> Array:
    return reduce(np.logical_and, conditions)


def _exactly(
    operation: Callable[..., Array], fused: bool = False
) -> Callable[[Precision, Interval, tuple[Interval, ...]], Interval]:
    """The result on known values: correctly rounded, as hardware does it; a product may also go unrounded into a sum."""

    def known(p: Precision, otherwise: Interval, arguments: tuple[Interval, ...]) -> Interval:
        points = _all(a.point for a in arguments)
        if not points.any():
            return otherwise
        wide = np.asarray(operation(*(a.value for a in arguments)), dtype=np.float64)
        result = exact(wide.astype(p.type))
        if fused:
            short = _all(a.value.astype(np.float32) == a.value for a in arguments)
            unrounded = exact(wide) if p is SINGLE else choose(short, exact(wide), _widen(exact(wide), p, 1.0))
            result = choose(np.isfinite(wide), union(result, unrounded), result)
        return choose(points, result, otherwise)

    return known


def _add(p: Precision, a: Interval, b: Interval) -> Interval:
    corners = [x + y for x in (a.low, a.high) for y in (b.low, b.high)]
    return _exactly(np.add)(p, _widen(_hull(corners, a.nan | b.nan), p, 2.0), (a, b))


def _sub(p: Precision, a: Interval, b: Interval) -> Interval:
    return _add(p, a, Interval(-b.high, -b.low, b.nan))


def _mul(p: Precision, a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    nan = a.nan | b.nan | (a.contains(0.0) & b.infinite) | (b.contains(0.0) & a.infinite)
    corners.append(np.where(a.contains(0.0) | b.contains(0.0), 0.0, corners[0]))
    return _exactly(np.multiply, fused=True)(p, _widen(_hull(corners, nan), p, 2.0), (a, b))


def _div(p: Precision, a: Interval, b: Interval) -> Interval:
    corners = [x / y for x in (a.low, a.high) for y in (b.low, b.high)]
    nan = a.nan | b.nan | (a.contains(0.0) & b.contains(0.0)) | (a.infinite & b.infinite)
    corners.append(np.where(b.infinite, 0.0, corners[0]))
    result = choose(b.contains(0.0), anything(nan), _widen(_hull(corners, nan), p, 2.0))
    return _exactly(np.divide)(p, result, (a, b))


def _pow(p: Precision, a: Interval, b: Interval) -> Interval:
    nan = a.nan | b.nan
    corners = [np.power(np.abs(x), y) for x in (a.low, a.high) for y in (b.low, b.high)]
    one = np.where(a.contains(1.0) | b.contains(0.0), 1.0, corners[0])
    result = _hull([*corners, one], nan)
    result = choose(a.low <= 0, anything(True), Interval(result.low, result.high, nan))
    result = choose(a.empty | b.empty, NOTHING, result)
    result = choose(a.empty & b.contains(0.0) | b.empty & a.contains(1.0), union(exact(1.0), NOTHING), result)
    result = choose(a.point & b.point, exact(np.power(a.value, b.value)), result)
    result = choose(b.point & (b.value == 0) | a.point & (a.value == 1), exact(1.0), result)
    return _widen(result, p, 16.0)


def _sqrt(p: Precision, a: Interval) -> Interval:
    low, high = (np.sqrt(np.maximum(x, 0.0)) for x in (a.low, a.high))
    result = choose(a.high < 0, NOTHING, Interval(low, high, a.nan | (a.low < 0)))
    special = a.point & ~(np.isfinite(a.value) & (a.value > 0))
    # torch's roots are off by a digit at times
    return choose(special, exact(np.sqrt(a.value)), _widen(result, p, 4.0))


def _monotone(function: Callable[[Array], Array], least: float = -INF) -> Callable[[Precision, Interval], Interval]:
    def apply(p: Precision, a: Interval) -> Interval:
        low, high = (function(np.maximum(x, least)) for x in (a.low, a.high))
        result = choose(a.high < least, NOTHING, Interval(low, high, a.nan | (a.low < least)))
        return choose(a.point & np.isinf(a.value), result, _widen(result, p, 16.0))

    return apply


def _abs(p: Precision, a: Interval) -> Interval:
    low = np.where(a.contains(0.0), 0.0, np.minimum(np.abs(a.low), np.abs(a.high)))
    return Interval(low, np.maximum(np.abs(a.low), np.abs(a.high)), a.nan)


def _sign(p: Precision, a: Interval) -> Interval:
    return Interval(np.sign(a.low), np.sign(a.high), a.nan)


def _extreme(of: Callable[[Array, Array], Array]) -> Callable[[Precision, Interval, Interval], Interval]:
    def apply(p: Precision, a: Interval, b: Interval) -> Interval:
        result = Interval(of(a.low, b.low), of(a.high, b.high), a.nan | b.nan)
        zeros = (a.value == 0) & (b.value == 0) & (np.signbit(a.value) != np.signbit(b.value))
        return choose(zeros, _widen(result, p, 1.0), result)  # which zero it is, is left open

    return apply


def _less(a: Interval, b: Interval, equal: bool) -> Truth:
    """a < b, or a <= b."""
    numbers = ~a.empty & ~b.empty
    may = (a.low <= b.high) if equal else (a.low < b.high)
    may_not = (a.high > b.low) if equal else (a.high >= b.low)
    return Truth(numbers & may, a.nan | b.nan | ~numbers | may_not)


def _equal(a: Interval, b: Interval) -> Truth:
    numbers = ~a.empty & ~b.empty
    certain = a.point & b.point & (a.value == b.value)
    return Truth(numbers & (a.low <= b.high) & (b.low <= a.high), ~certain)


def _not(a: Truth) -> Truth:
    return Truth(a.false, a.true)


def _where(p: Precision, condition: Truth, a: Interval | Truth, b: Interval | Truth) -> Interval | Truth:
    if isinstance(a, Truth) or isinstance(b, Truth):
        assert isinstance(a, Truth)
        assert isinstance(b, Truth)
        either = [(x & condition.true) | (y & condition.false) for x, y in ((a.true, b.true), (a.false, b.false))]
        return Truth(*either)
    return choose(condition.true & condition.false, union(a, b), choose(condition.true, a, b))


OPERATIONS: dict[str, Callable[..., object]] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "pow": _pow, "sqrt": _sqrt, "abs": _abs, "sign": _sign,
    "exp": _monotone(np.exp), "log": _monotone(np.log, 0.0), "tanh": _monotone(np.tanh), "floor": _monotone(np.floor),
    "minimum": _extreme(np.minimum), "maximum": _extreme(np.maximum), "where": _where,
    "lt": lambda p, a, b: _less(a, b, False), "le": lambda p, a, b: _less(a, b, True),
    "gt": lambda p, a, b: _less(b, a, False), "ge": lambda p, a, b: _less(b, a, True),
    "eq": lambda p, a, b: _equal(a, b), "ne": lambda p, a, b: _not(_equal(a, b)),
    "and": lambda p, a, b: Truth(a.true & b.true, a.false | b.false),
    "or": lambda p, a, b: Truth(a.true | b.true, a.false & b.false),
    "logical_not": lambda p, a: _not(a),
    "isnan": lambda p, a: Truth(a.nan, ~a.empty),
    "isfinite": lambda p, a: Truth((a.low < INF) & (a.high > -INF) & ~a.empty, a.nan | a.infinite),
}  # fmt: skip


def operate(op: str, p: Precision, *arguments: Interval | Truth) -> Interval | Truth:
    """The possible results of an operation, computed in a type."""
    with np.errstate(all="ignore"):
        result = OPERATIONS[op](p, *arguments)
    assert isinstance(result, Interval | Truth)
    if isinstance(result, Interval) and op not in ("where", "pow"):
        numbers = _all(~a.empty for a in arguments if isinstance(a, Interval))
        result = result if numbers.all() else choose(numbers, result, NOTHING)
    return result


def sum_of_squares(x: Interval, p: Precision) -> Interval:
    """Over all elements, added up in any order in the elements' precision or a wider one, as if nothing overflowed."""
    with np.errstate(all="ignore"):
        size = _abs(DOUBLE, x)
        low, high = np.sum(size.low**2), np.sum(size.high**2)
        error = (size.low.size + 8) * p.unit / DOUBLE.unit
        result = _widen(Interval(*map(np.asarray, (low, high, bool(size.nan.any())))), DOUBLE, error)
    if x.empty.any():
        return NOTHING
    return exact(high) if low == high in (0.0, INF) and not size.nan.any() else result


def sum_along(x: Interval, axis: int, p: Precision) -> Interval:
    """Along one axis, which is kept, added up in any order in the elements' precision or a wider one."""
    with np.errstate(all="ignore"):
        low, high, nan = np.broadcast_arrays(x.low, x.high, x.nan)
        x = Interval(low, high, nan)
        size = np.where(x.empty, 0.0, _abs(DOUBLE, x).high).sum(axis, keepdims=True)
        error = (low.shape[axis] + 8) * p.unit * size + p.smallest
        result = Interval(low.sum(axis, keepdims=True), high.sum(axis, keepdims=True), nan.any(axis, keepdims=True))
        result = Interval(result.low - error, result.high + error, result.nan)
        result = choose(size < p.largest, result, anything(True))  # in some order it may overflow
        known = x.point.all(axis, keepdims=True) & np.isinf(x.value).any(axis, keepdims=True)
        result = choose(known, exact(x.value.sum(axis, keepdims=True)), result)
    return choose(x.empty.any(axis, keepdims=True), NOTHING, result)


def largest_along(x: Interval, axis: int) -> Interval:
    """The largest magnitude along one axis, which is kept."""
    low, high, nan = np.broadcast_arrays(x.low, x.high, x.nan)
    size = _abs(DOUBLE, Interval(low, high, nan))
    result = Interval(*(of.max(axis, keepdims=True) for of in (size.low, size.high)), nan.any(axis, keepdims=True))
    return choose((low > high).any(axis, keepdims=True), NOTHING, result)
