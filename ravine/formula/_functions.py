"""The functions of the formula language. They work on symbols, numbers, NumPy arrays and torch tensors alike.

So a piece can be called by hand. The eager backend and the number stage of a program are the formula's own text, run
with these functions. Their values at NaN, infinity and zero stand in ``_operations.py``. ``abs`` is Python's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ravine.errors import FormulaError
from ravine.formula._compensation import compensation_functions
from ravine.formula._rounding import mixed, rounding_functions  # noqa: F401 - programs call it
from ravine.formula._sizes import along, numel_of, resolution_of, size_of
from ravine.formula._symbols import Symbol, apply

#: Constants of a formula, by the names that Python prints for them.
inf, nan = math.inf, math.nan

#: What a sum runs over.
Over = Literal["tensor", "group", "all"]
#: What a formula computes with: a symbol while it is traced; later a number, an array or a tensor.
Value = Any


def _total(function: Callable[[float], float], outside: float) -> Callable[[float], float]:
    """A function of ``math`` that returns IEEE arithmetic's value where ``math`` raises."""

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
    "floor": lambda x: float(math.floor(x)) if x and math.isfinite(x) else x,
    "isfinite": math.isfinite,
    "isnan": math.isnan,
    "logical_not": lambda a: not a,
    "minimum": lambda a, b: a if (a < b or a != a) else b,
    "maximum": lambda a, b: a if (a > b or a != a) else b,
    "where": lambda condition, a, b: a if condition else b,
}


def div(a: Value, b: Value) -> Value:
    """a / b, with IEEE arithmetic's value where Python raises: infinity, or NaN for 0 / 0.

    A number over a tensor is one division: torch's operator multiplies by the reciprocal, which is rounded and may
    overflow.
    """
    if isinstance(a, int | float) and not isinstance(b, int | float | np.ndarray):
        a = element(a, b)
    try:
        return a / b
    except ZeroDivisionError:  # so both are Python's numbers
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def pow(a: Value, b: Value) -> Value:
    """a**b, with IEEE arithmetic's value where Python raises or returns a complex number: infinity, or NaN.

    The same for arrays and tensors: where the exponent is the number 0.5, NumPy and torch take a square root instead,
    which is NaN at minus infinity.
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
            chosen, other = values if condition else reversed(values)
            either = isinstance(chosen, torch.Tensor) or not isinstance(other, torch.Tensor)
            return chosen if either else torch.full_like(other, chosen)  # a sum of it is one of as many elements
        known = next((x for x in values if isinstance(x, torch.Tensor)), None)
        if known is not None:
            values = [element(x, known) for x in values]
        return torch.where(condition, *values)
    if op == "sign":  # for torch the sign of NaN is 0
        return torch.where(torch.isnan(xs[0]), xs[0], torch.sign(xs[0]))
    if op in ("minimum", "maximum"):  # torch accepts no Python number here
        known = next(x for x in xs if isinstance(x, torch.Tensor))
        xs = tuple(x if isinstance(x, torch.Tensor) else element(x, known) for x in xs)
    return getattr(torch, op)(*xs)


def element(x: Value, of: Value) -> Value:
    """A number as an element of a tensor: with its dtype, on its device. A tensor with dimensions stays as it is."""
    import torch

    if isinstance(x, torch.Tensor):
        return x if x.ndim else x.to(of.dtype)
    if of.dtype.is_floating_point and abs(x) > torch.finfo(of.dtype).max:
        x = math.copysign(math.inf, x)  # as rounding to the dtype gives; torch.full would refuse it
    return torch.full((), x, dtype=of.dtype, device=of.device)


def where_number(condition: Value, a: Value, b: Value) -> Value:
    """``where`` of the number stage: of two numbers torch would make float32, and here all numbers are doubles."""
    if not isinstance(condition, bool | np.ndarray | np.generic) and all(isinstance(x, int | float) for x in (a, b)):
        import torch

        double = torch.float32 if condition.device.type == "mps" else torch.float64
        a, b = (torch.full((), x, dtype=double, device=condition.device) for x in (a, b))
    return where(condition, a, b)


def sqrt(x: Value) -> Value:
    """Square root; NaN of a negative number."""
    return _call("sqrt", x)


def sign(x: Value) -> Value:
    """-1, 0 or 1 if x is below, at or above 0; NaN of NaN."""
    return _call("sign", x)


def exp(x: Value) -> Value:
    """e to the power x."""
    return _call("exp", x)


def log(x: Value) -> Value:
    """Natural logarithm; -inf of 0, NaN of a negative number."""
    return _call("log", x)


def tanh(x: Value) -> Value:
    """Hyperbolic tangent."""
    return _call("tanh", x)


def floor(x: Value) -> Value:
    """The largest whole number that is not above x. ``a // b`` is ``floor(a / b)``, and ``a % b`` is ``a - a // b * b``."""
    return _call("floor", x)


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


#: The dimension of the matrices that a tensor is made of, the last two, that a sum runs along.
Dim = Literal[-1, -2]


def _summed(kind: str, x: Value, over: str, dim: int | None = None) -> Value:
    """A sum of a traced tensor; ``over`` names what it runs over."""
    if dim is not None:
        if dim not in (-1, -2) or isinstance(dim, bool):
            raise FormulaError(f"dim={dim!r}: it is -1 (one value for each row) or -2 (one for each column)")
        if over != "tensor":
            raise FormulaError(
                f"over={over!r} and dim={dim}: a row or column is of one tensor, so leave out one of them"
            )
        prefix = "rows" if dim == -1 else "columns"
        return along(f"{prefix}_sum", x * x) if kind == "sum_of_squares" else along(f"{prefix}_{kind}", x)
    ops = {"tensor": kind, "group": f"group_{kind}", "all": f"global_{kind}"}
    if over not in ops:
        along_it = f". Along a dimension it is dim={over}" if over in (-1, -2) else ""
        raise FormulaError(
            f"over={over!r} is not known: a sum runs over 'tensor' (this one), 'group' or 'all'{along_it}"
        )
    return apply(ops[over], x)


def _traced(x: Value) -> bool:
    return isinstance(x, Symbol | int | float)


def sum(x: Value, over: Over = "tensor", dim: Dim | None = None) -> Value:
    """The sum of the elements of x: one number per parameter. It costs one more pass over memory, as all that follow.

    Args:
        x: a tensor: ``grad``, ``param``, ``update``, a state, or what is computed from them.
        over: ``"tensor"``, this one; ``"group"``, all of its parameter group; ``"all"``, every tensor that the optimizer
            steps. Where groups have different formulas, it runs over the groups that have the piece. Called by hand it
            sees one tensor only.
        dim: -1: along the last dimension, one value for each row, of shape ``(..., 1)``; -2: one for each column, of shape
            ``(..., 1, n)``. Such a value stands for all elements of its row or column.
    """
    if _traced(x):
        return _summed("sum", x, over, dim)
    return x.sum() if dim is None else _along(x, dim, "sum")


def dot(a: Value, b: Value, over: Over = "tensor", dim: Dim | None = None) -> Value:
    """The sum of a * b; ``over`` and ``dim`` as for :func:`sum`."""
    return sum(a * b, over, dim)


def norm(x: Value, over: Over = "tensor", dim: Dim | None = None) -> Value:
    """Euclidean norm of x; ``over`` and ``dim`` as for :func:`sum`."""
    if _traced(x):
        return apply("sqrt", _summed("sum_of_squares", x, over, dim))
    return sqrt(sum(x * x, over, dim))


def amax(x: Value, over: Over = "tensor", dim: Dim | None = None) -> Value:
    """The largest magnitude of the elements of x, NaN if one is NaN; ``over`` and ``dim`` as for :func:`sum`."""
    if _traced(x):
        return _summed("amax", x, over, dim)
    return abs(x).max() if dim is None else _along(abs(x), dim, "amax")


def global_norm(x: Value) -> Value:
    """Euclidean norm of x over every tensor that the optimizer steps, in all groups: ``norm(x, over="all")``."""
    return norm(x, "all")


def numel(x: Value, over: Over = "tensor", dim: Dim | None = None) -> Value:
    """How many elements there are; those of complex tensors count twice. Over this tensor it costs no pass.

    With ``dim`` how many there are in a row (-1) or column (-2).
    """
    if not _traced(x):
        return float(math.prod(x.shape) if dim is None else x.shape[dim])
    if dim is not None:
        _summed("sum", x, over, dim)  # its errors
        return size_of(dim)
    # a sum of ones, so that it is of the tensors that a sum over several is of: those with a gradient
    return numel_of(x) if over == "tensor" else sum(_one(x), over)


def _one(x: Value) -> Symbol:
    """1 for every element."""
    return apply("where", apply("eq", x, x), 1.0, 1.0)


def mean(x: Value, over: Over = "tensor", dim: Dim | None = None) -> Value:
    """The mean of the elements of x; ``over`` and ``dim`` as for :func:`sum`."""
    return sum(x, over, dim) / numel(x, over, dim)


def resolution(x: Value) -> Value:
    """The distance from 1 to the next number of the parameter's dtype, as ``torch.finfo(dtype).eps``: one number, no pass."""
    if _traced(x) or not hasattr(x, "dtype"):
        return resolution_of(x)  # and its errors
    import torch

    return torch.finfo(x.dtype).eps if isinstance(x, torch.Tensor) else float(np.finfo(x.dtype).eps)


def rms(x: Value, over: Over = "tensor", dim: Dim | None = None) -> Value:
    """The root of the mean of the squares of x; ``over`` and ``dim`` as for :func:`sum`."""
    return norm(x, over, dim) / sqrt(numel(x, over, dim))


def _along(x: Value, dim: int, how: str) -> Value:
    """The sum or largest of each row or column of an array or tensor."""
    if isinstance(x, np.ndarray):
        return x.sum(axis=dim, keepdims=True) if how == "sum" else x.max(axis=dim, keepdims=True)
    if how == "amax" and not x.shape[dim]:  # as of a whole tensor without elements
        return x.sum(dim, keepdim=True)
    return getattr(x, how)(dim, keepdim=True)


def rows_sum(x: Value) -> Value:
    """``sum(x, dim=-1)``, as generated code has it; its kin follow."""
    return _along(x, -1, "sum")


def columns_sum(x: Value) -> Value:
    return _along(x, -2, "sum")


def rows_amax(x: Value) -> Value:
    return _along(abs(x), -1, "amax")


def columns_amax(x: Value) -> Value:
    return _along(abs(x), -2, "amax")


globals().update(rounding_functions() | compensation_functions())
