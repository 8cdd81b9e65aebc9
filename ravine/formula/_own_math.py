"""A user's function in which ``math.sqrt`` and its kind take the stand-ins that a formula is read with.

Python's ``math`` wants numbers. The function is made again with other globals; it, its module and ``math`` stay as they are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any

from ravine.formula._stand_in import StandIn

_NAMES = ("sqrt", "exp", "log", "log1p", "tanh", "fabs", "floor", "pow", "isnan", "isfinite")


def _taking_stand_ins(name: str) -> Callable[..., Any]:
    of_numbers = getattr(math, name)

    @functools.wraps(of_numbers)
    def call(*given: Any) -> Any:
        if not any(isinstance(x, StandIn) for x in given):
            return of_numbers(*given)
        if name == "log" and len(given) == 2:
            return call(given[0]) / call(given[1])
        first, *others = given
        if name == "pow":
            return first ** others[0]
        return getattr(first, {"fabs": "abs"}.get(name, name))(*others)

    return call


class _Math(ModuleType):
    """``math``, with the functions that a formula has for its stand-ins too."""

    def __getattr__(self, name: str) -> Any:
        return _BY_NAME.get(name) or getattr(math, name)


_BY_NAME = {name: _taking_stand_ins(name) for name in _NAMES}
_INSTEAD: dict[int, Any] = {id(math): _Math("math"), **{id(getattr(math, name)): f for name, f in _BY_NAME.items()}}


def with_own_math(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with what it calls of its own module, for stand-ins."""
    if isinstance(function, functools.partial):
        return functools.partial(with_own_math(function.func), *function.args, **function.keywords)
    if isinstance(function, MethodType):
        return MethodType(with_own_math(function.__func__), function.__self__)
    if not isinstance(function, FunctionType):
        called = type(function).__call__
        return MethodType(with_own_math(called), function) if isinstance(called, FunctionType) else function
    theirs = function.__globals__
    own = {name: _INSTEAD.get(id(value), value) for name, value in theirs.items()}
    for name, value in theirs.items():
        if isinstance(value, FunctionType) and value.__globals__ is theirs:
            own[name] = _copied(value, own)
    return _copied(function, own)


def _copied(function: FunctionType, scope: dict[str, Any]) -> FunctionType:
    made = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(function.__dict__)
    return made
