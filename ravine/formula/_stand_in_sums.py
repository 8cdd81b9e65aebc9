"""Methods of a tensor that look at all of its elements, for stand-ins: those that a formula has, and what is said of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ravine.errors import FormulaError
from ravine.formula._functions import (
    dot,
    exp,
    isfinite,
    isnan,
    log,
    maximum,
    mean,
    minimum,
    norm,
    numel,
    sqrt,
    sum,
    where,
)
from ravine.formula._symbols import Symbol

Value = Any
_THRESHOLD = 20  # from there on softplus is the identity, as in torch


def _of_all(name: str, function: Callable[[Value], Value]) -> Callable[..., Value]:
    """A sum over all elements; along a dimension it is refused."""

    def method(a: Value, dim: Value = None, keepdim: bool = False, **options: Value) -> Value:
        if dim is not None and dim != ():
            raise FormulaError(f"it uses .{name} along a dimension; {name}(x) of a formula is that of all elements")
        return function(a)

    return method


def _norm(a: Value, p: Value = 2, dim: Value = None, **options: Value) -> Value:
    if dim is not None:
        raise FormulaError("it uses .norm along a dimension; norm(x) of a formula is that of all elements")
    if p in (2, "fro", None):
        return norm(a)
    if p == 1:
        return sum(abs(a))
    raise FormulaError(f"it uses the norm of order {p!r}; a formula has norm(x), of order 2, and sum(abs(x))")


def _extreme(name: str, of_two: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    def method(a: Value, *others: Value, **options: Value) -> Value:
        if len(others) == 1 and not options and isinstance(others[0], Symbol | float):
            return of_two(a, others[0])
        raise FormulaError(
            f"it uses .{name} of the elements of a tensor, which a formula does not have; {name}imum(a, b) is that of two tensors"
        )

    return method


def _var(a: Value, correction: Value = 1, unbiased: bool = True) -> Value:
    away = a - mean(a)
    return dot(away, away) / (numel(a) - (correction if unbiased else 0))


def _softplus(x: Value, beta: Value = 1, threshold: Value = _THRESHOLD) -> Value:
    return where(x * beta > threshold, x, log(1 + exp(x * beta)) / beta)


def _not_had(name: str, instead: str) -> Callable[..., NoReturn]:
    def method(*_: Value, **__: Value) -> NoReturn:
        raise FormulaError(f"it uses .{name}; a formula has {instead}")

    return method


SUMS: dict[str, Callable[..., Value]] = {
    "sum": _of_all("sum", sum),
    "mean": _of_all("mean", mean),
    "norm": _norm,
    "vector_norm": _norm,
    "linalg_vector_norm": _norm,
    "linalg_norm": _norm,
    "dot": dot,
    "numel": numel,
    "var": _var,
    "std": lambda a, correction=1, unbiased=True: sqrt(_var(a, correction, unbiased)),
    "max": _extreme("max", maximum),
    "min": _extreme("min", minimum),
    "amax": _extreme("max", maximum),
    "amin": _extreme("min", minimum),
    "item": lambda a: a,
    "relu": lambda a: maximum(a, 0.0),
    "sigmoid": lambda a: 1 / (1 + exp(-a)),
    "softplus": _softplus,
    "isnan": isnan,
    "isfinite": isfinite,
    "any": _not_had("any", "no truth of a whole tensor; sum(where(condition, 1.0, 0.0)) > 0 says whether one is true"),
    "all": _not_had(
        "all", "no truth of a whole tensor; sum(where(condition, 0.0, 1.0)) == 0 says whether all are true"
    ),
}
"""By their names, as ``_stand_in.py`` calls them."""
