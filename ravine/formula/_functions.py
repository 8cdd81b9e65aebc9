"""The functions of the formula language: they work on symbols, numbers, NumPy arrays and torch tensors alike.

So a piece can be called with tensors or numbers by hand, and the eager backend and the number stage of every
program are the formula's own text run with these functions.

NaN stays visible: ``minimum``, ``maximum`` and ``sign`` of NaN are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ravine.formula._symbols import Symbol, apply

# What a formula computes with: a symbol while it is traced; later a number, an array or a tensor.
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
    """a / b; where Python raises, IEEE arithmetic's value: infinite, or NaN of 0 / 0."""
    try:
        return a / b
    except ZeroDivisionError:  # so both are Python's numbers
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def pow(a: Value, b: Value) -> Value:
    """a**b; where Python raises or gives a complex number, IEEE arithmetic's value: infinite, or NaN."""
    try:
        result = a**b
    except (ZeroDivisionError, OverflowError):
        with np.errstate(all="ignore"):
            return float(np.float64(a) ** np.float64(b))
    return math.nan if isinstance(result, complex) else result


def _call(op: str, *xs: Value) -> Value:
    if any(isinstance(x, Symbol) for x in xs):
        return apply(op, *xs)
    if all(isinstance(x, int | float) for x in xs):
        return _NUMBER[op](*xs)
    tensor = next((x for x in xs if not isinstance(x, int | float | np.ndarray | np.generic)), None)
    if tensor is None:
        return getattr(np, op)(*xs)
    import torch

    if op == "where" and isinstance(xs[0], bool | np.bool_):
        return xs[1] if xs[0] else xs[2]
    if op == "sign":  # torch's sign of NaN is 0
        return torch.where(torch.isnan(tensor), tensor, torch.sign(tensor))
    if op in ("minimum", "maximum"):
        # As tensors of the other's dtype: torch takes no Python number here.
        xs = tuple(
            x if isinstance(x, torch.Tensor) else torch.full((), x, dtype=tensor.dtype, device=tensor.device)
            for x in xs
        )
    return getattr(torch, op)(*xs)


def sqrt(x: Value) -> Value:
    """Square root; NaN below 0."""
    return _call("sqrt", x)


def abs(x: Value) -> Value:
    """Absolute value."""
    return _call("abs", x)


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
    if isinstance(x, Symbol):
        return apply("sqrt", apply("sum_of_squares", x))
    return sqrt((x * x).sum())


def global_norm(x: Value) -> Value:
    """Euclidean norm of x over every tensor that the optimizer steps, all groups together.

    Groups whose formulas differ are joined piece by piece: a piece's norm runs over the groups that have the piece.

    Outside a formula it has only the one tensor to look at, and is ``norm``.
    """
    if isinstance(x, Symbol):
        return apply("sqrt", apply("global_sum_of_squares", x))
    return norm(x)
