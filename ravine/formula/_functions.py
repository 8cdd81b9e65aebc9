"""The functions of the formula language: they work on symbols, numbers, NumPy arrays and torch tensors alike.

So a piece can be called with tensors or numbers by hand, and the eager backend and the number stage of every
program are the formula's own text run with these functions.

Python's own ``abs`` is the absolute value of all of them. NaN stays visible: ``minimum``, ``maximum`` and ``sign`` of
NaN are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ravine.formula._symbols import Symbol, apply

#: Constants of a formula, by the names that Python prints for them.
inf, nan = math.inf, math.nan

#: What a formula computes with: a symbol while it is traced; later a number, an array or a tensor.
Value = Any


def _total(function: Callable[[float], float], outside: float) -> Callable[[float], float]:
    """A function of math, with NumPy's and torch's value where math raises."""

    def call(x: float) -> float:
        try:
            return function(x)
        except (ValueError, OverflowError):
            return outside if x == x else x

    return call


_NUMBER: dict[str, Callable[..., Any]] = {
    "sqrt": _total(math.sqrt, math.nan),
    "abs": abs,
    "sign": lambda x: x if x != x else float((x > 0) - (x < 0)),
    "exp": _total(math.exp, math.inf),
    "log": lambda x: -math.inf if x == 0 else _total(math.log, math.nan)(x),
    "tanh": math.tanh,
    "isfinite": math.isfinite,
    "isnan": math.isnan,
    "logical_not": lambda a: not a,
    "minimum": lambda a, b: a if (a < b or a != a) else b,
    "maximum": lambda a, b: a if (a > b or a != a) else b,
    "where": lambda condition, a, b: a if condition else b,
}


def div(a: Value, b: Value) -> Value:
    """a / b; where Python raises, IEEE arithmetic's value: infinite, or NaN of 0 / 0.

    A number over a tensor, too: torch's operator multiplies by the reciprocal, which is rounded and may overflow.
    """
    if isinstance(a, int | float) and not isinstance(b, int | float | np.ndarray):
        a = element(a, b)
    try:
        return a / b
    except ZeroDivisionError:  # so both are Python's numbers
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def pow(a: Value, b: Value) -> Value:
    """a**b; where Python raises or gives a complex number, IEEE arithmetic's value: infinite, or NaN.

    Of an array or a tensor, too: with a number as the exponent, NumPy and torch take a square root for the power 0.5,
    and the root of minus infinity is NaN where the power is infinite.
    """
    if isinstance(a, np.ndarray):
        return np.power(a, np.full(a.shape, b))
    if not isinstance(a, int | float):
        return a ** element(b, a)
    try:
        result = a**b
    except (ZeroDivisionError, OverflowError):
        with np.errstate(all="ignore"):
            return float(np.float64(a) ** np.float64(b))
    return math.nan if isinstance(result, complex) else result


def _call(op: str, *xs: Value) -> Value:
    if all(isinstance(x, int | float) for x in xs):
        return _NUMBER[op](*xs)
    if any(isinstance(x, Symbol) for x in xs):
        return apply(op, *xs)
    if all(isinstance(x, int | float | np.ndarray | np.generic) for x in xs):
        return getattr(np, op)(*xs)
    return _of_tensors(op, *(x.item() if isinstance(x, np.generic | np.ndarray) and x.ndim == 0 else x for x in xs))


def _of_tensors(op: str, *xs: Value) -> Value:
    import torch

    if op == "where":
        condition, *values = xs
        if isinstance(condition, bool):
            return values[0] if condition else values[1]
        known = next((x for x in values if isinstance(x, torch.Tensor)), None)
        if known is not None:
            values = [element(x, known) for x in values]
        elif condition.ndim == 0 and condition.device.type != "mps":  # a number, which is a double where there are any
            values = [torch.full((), x, dtype=torch.float64, device=condition.device) for x in values]
        return torch.where(condition, *values)
    if op == "sign":  # torch's sign of NaN is 0
        return torch.where(torch.isnan(xs[0]), xs[0], torch.sign(xs[0]))
    if op in ("minimum", "maximum"):  # torch takes no Python number here
        known = next(x for x in xs if isinstance(x, torch.Tensor))
        xs = tuple(x if isinstance(x, torch.Tensor) else element(x, known) for x in xs)
    return getattr(torch, op)(*xs)


def element(x: Value, of: Value) -> Value:
    """A number as a value of a tensor's elements: with its dtype, on its device. Tensors with dimensions stay."""
    import torch

    if isinstance(x, torch.Tensor):
        return x if x.ndim else x.to(of.dtype)
    if of.dtype.is_floating_point and abs(x) > torch.finfo(of.dtype).max:
        x = math.copysign(math.inf, x)  # as arithmetic gives; torch.full would refuse it
    return torch.full((), x, dtype=of.dtype, device=of.device)


def sqrt(x: Value) -> Value:
    """Square root; NaN below 0."""
    return _call("sqrt", x)


def sign(x: Value) -> Value:
    """-1, 0 or 1 as x is below, at or above 0; NaN of NaN."""
    return _call("sign", x)


def exp(x: Value) -> Value:
    """e to the power x."""
    return _call("exp", x)


def log(x: Value) -> Value:
    """Natural logarithm; -inf at 0, NaN below."""
    return _call("log", x)


def tanh(x: Value) -> Value:
    """Hyperbolic tangent."""
    return _call("tanh", x)


def isfinite(x: Value) -> Value:
    """True where x is neither NaN nor infinite."""
    return _call("isfinite", x)


def isnan(x: Value) -> Value:
    """True where x is NaN."""
    return _call("isnan", x)


def logical_not(a: Value) -> Value:
    """True where a is false; ``~a`` in a formula."""
    return _call("logical_not", a)


def minimum(a: Value, b: Value) -> Value:
    """The smaller of a and b; NaN if either is NaN."""
    return _call("minimum", a, b)


def maximum(a: Value, b: Value) -> Value:
    """The larger of a and b; NaN if either is NaN."""
    return _call("maximum", a, b)


def where(condition: Value, a: Value, b: Value) -> Value:
    """a where the condition is true, b elsewhere; both are computed."""
    return _call("where", condition, a, b)


def norm(x: Value) -> Value:
    """Euclidean norm of x over this tensor: one number per parameter, at the cost of one more pass over memory."""
    if isinstance(x, Symbol | int | float):
        return apply("sqrt", apply("sum_of_squares", x))
    return sqrt((x * x).sum())


def global_norm(x: Value) -> Value:
    """Euclidean norm of x over every tensor that the optimizer steps, all groups together.

    Groups whose formulas differ are joined piece by piece: a piece's norm runs over the groups that have the piece.

    Outside a formula it has only the one tensor to look at, and is ``norm``.
    """
    if isinstance(x, Symbol | int | float):
        return apply("sqrt", apply("global_sum_of_squares", x))
    return norm(x)
