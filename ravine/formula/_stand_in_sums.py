"""Methods of a tensor that look at all of its elements, for stand-ins: those that a formula has, and what is said of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ravine.errors import FormulaError
from ravine.formula._functions import (
    amax,
    dot,
    exp,
    inf,
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


def _along(name: str, dim: Value, keepdim: bool) -> Any:
    """The dimension of a formula, or None: all elements.

    Raises:
        FormulaError: a formula does not have it.
    """
    if dim is None or dim == ():
        return None
    (dim,) = dim if isinstance(dim, tuple | list) and len(dim) == 1 else (dim,)
    if dim not in (-1, -2):
        raise FormulaError(
            f"it uses .{name} along dimension {dim!r}, and a formula does not know how many a tensor has: dim=-1 gives one value "
            "for each row, and dim=-2 for each column"
        )
    if not keepdim:
        raise FormulaError(
            f"it uses .{name}(dim={dim}) without keepdim=True; a formula keeps the dimension, as {name}(x, dim={dim}) does"
        )
    return dim


def _of_all(name: str, function: Callable[..., Value]) -> Callable[..., Value]:
    """A sum over all elements, or over each row or column."""

    def method(a: Value, dim: Value = None, keepdim: bool = False, **options: Value) -> Value:
        return function(a, dim=_along(name, dim, keepdim))

    return method


def _norm(a: Value, p: Value = 2, dim: Value = None, keepdim: bool = False, ord: Value = 2, **options: Value) -> Value:
    order, along = (ord if p == 2 else p), _along("norm", dim, keepdim)
    if order in (2, "fro", None):
        return norm(a, dim=along)
    if order == 1:
        return sum(abs(a), dim=along)
    if order == inf:
        return amax(a, dim=along)
    raise FormulaError(
        f"it uses the norm of order {order!r}; a formula has norm(x), of order 2, sum(abs(x)), of order 1, and amax(x)"
    )


def _linalg_norm(a: Value, ord: Value = None, dim: Value = None, keepdim: bool = False, **options: Value) -> Value:
    if ord not in (None, "fro") and not isinstance(dim, int):
        raise FormulaError(
            f"it uses torch.linalg.norm of order {ord!r}, which is another one of matrices than of vectors; "
            "torch.linalg.vector_norm is the same of all"
        )
    return _norm(a, ord, dim, keepdim)


def _is_abs(a: Value) -> bool:
    return isinstance(a, Symbol) and a.op == "abs"


def _extreme(name: str, of_two: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    def method(a: Value, *given: Value, **options: Value) -> Value:
        if len(given) == 1 and not options and isinstance(given[0], Symbol | float):
            return of_two(a, given[0])
        if name == "max" and not given and not options and _is_abs(a):
            return amax(a)
        raise FormulaError(
            f"it uses .{name} of the elements of a tensor; of these a formula has amax(x), the largest magnitude, and "
            f"{name}imum(a, b) is that of two tensors"
        )

    return method


def _amax(a: Value, dim: Value = None, keepdim: bool = False) -> Value:
    if _is_abs(a):
        return amax(a, dim=_along("amax", dim, keepdim))
    raise FormulaError("it uses .amax of elements with their signs; amax(x) of a formula is the largest magnitude")


def _var(
    a: Value, dim: Value = None, unbiased: bool = True, keepdim: bool = False, correction: Value = 1, name: str = "var"
) -> Value:
    dim, unbiased = (None, dim) if isinstance(dim, bool) else (dim, unbiased)  # torch takes var(False)
    along = _along(name, dim, keepdim)
    away = a - mean(a, dim=along)
    return dot(away, away, dim=along) / (numel(a, dim=along) - (correction if unbiased else 0))


def _softplus(x: Value, beta: Value = 1, threshold: Value = _THRESHOLD) -> Value:
    return where(x * beta > threshold, x, log(1 + exp(x * beta)) / beta)


def _normalize(x: Value, p: Value = 2, dim: Value = 1, eps: Value = 1e-12, out: None = None) -> Value:
    return x / maximum(_norm(x, p, dim, True), eps)


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
    "linalg_norm": _linalg_norm,
    "normalize": _normalize,
    "dot": dot,
    "numel": numel,
    "var": _var,
    "std": lambda a, dim=None, unbiased=True, keepdim=False, correction=1: sqrt(
        _var(a, dim, unbiased, keepdim, correction, "std")
    ),
    "max": _extreme("max", maximum),
    "min": _extreme("min", minimum),
    "amax": _amax,
    "amin": _not_had("amin", "amax(x), the largest magnitude, and minimum(a, b)"),
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
