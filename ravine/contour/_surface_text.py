"""A function of two variables as the text that a page reads: ``x**2 / 20 + 5 * y**2``.

A function of Python is called once with a point of symbols, which write down what is done to them; a text that the user
typed is read by Python's own parser and checked. So a function is written once, in ``tasks/_test_functions.py``.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from ravine.errors import OptionError, nearest

#: The functions that a page knows, beside + - * / and powers.
FUNCTIONS = ("sin", "cos", "exp", "log", "sqrt", "abs", "tanh")
CONSTANTS = {"pi": math.pi, "e": math.e}
_SIGNS = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 4}  # and how tightly they bind
_MINUS, _ATOM = 3, 9
_EXAMPLE = "x**2 + 20*y**2"
_LONGEST = 4000


class _Unknown(Exception):
    """What was done to a symbol that a page cannot do."""


@dataclass(frozen=True)
class Expression:
    """A part of a function, as text; ``binding`` is how tightly its outermost sign binds."""

    text: str
    binding: int = _ATOM

    def __add__(self, other: Any) -> Expression:
        return _infix(self, "+", other)

    def __radd__(self, other: Any) -> Expression:
        return _infix(other, "+", self)

    def __sub__(self, other: Any) -> Expression:
        return _infix(self, "-", other)

    def __rsub__(self, other: Any) -> Expression:
        return _infix(other, "-", self)

    def __mul__(self, other: Any) -> Expression:
        return _infix(self, "*", other)

    def __rmul__(self, other: Any) -> Expression:
        return _infix(other, "*", self)

    def __truediv__(self, other: Any) -> Expression:
        return _infix(self, "/", other)

    def __rtruediv__(self, other: Any) -> Expression:
        return _infix(other, "/", self)

    def __pow__(self, other: Any) -> Expression:
        return _infix(self, "**", other)

    def __rpow__(self, other: Any) -> Expression:
        return _infix(other, "**", self)

    def __neg__(self) -> Expression:
        return Expression(f"-{_bound(self, _MINUS)}", _MINUS)

    def __pos__(self) -> Expression:
        return self

    def __abs__(self) -> Expression:
        return _called("abs", self)

    def __bool__(self) -> bool:
        raise _Unknown("a decision by its values (if, while)")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **options: _torchs(name, (self, *args), options)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Expression:
        return _torchs(getattr(function, "__name__", str(function)), args, kwargs or {})


class _Point:
    """The point that a function is called with."""

    def unbind(self, dim: int = 0) -> tuple[Expression, Expression]:
        if dim not in (-1, 0):
            raise _Unknown(f"point.unbind({dim})")
        return _X, _Y

    def __getitem__(self, index: Any) -> Expression:
        last = index[-1] if isinstance(index, tuple) and index[:-1] == (...,) else index
        if last not in (0, 1, -1, -2):
            raise _Unknown(f"point[{index!r}]")
        return (_X, _Y)[last]

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _Unknown(f"point.{name}")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        raise _Unknown(f"{getattr(function, '__name__', function)} of the whole point")


_X, _Y = Expression("x"), Expression("y")
_WORDS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "subtract": operator.sub, "mul": operator.mul, "multiply": operator.mul,
    "div": operator.truediv, "divide": operator.truediv, "true_divide": operator.truediv, "pow": operator.pow,
    "neg": operator.neg, "negative": operator.neg, "square": lambda a: a**2, "absolute": abs, "double": lambda a: a,
    "reciprocal": lambda a: 1 / a, "rsqrt": lambda a: 1 / _called("sqrt", a), "rsub": lambda a, b: b - a,
}  # fmt: skip


def _torchs(name: str, args: Any, options: Mapping[str, Any]) -> Any:
    """What one of torch's functions makes of expressions and numbers."""
    if options:
        raise _Unknown(f"{name}(..., {', '.join(options)}=...)")
    if name in FUNCTIONS and len(args) == 1:
        return _called(name, args[0])
    word = name.strip("_")
    if word in _WORDS:
        return _WORDS[word](*map(_lifted, args))  # of torch's own numbers the operators would come back here
    raise _Unknown(name)


def _called(name: str, of: Any) -> Expression:
    return Expression(f"{name}({_lifted(of).text})")


def _infix(left: Any, sign: str, right: Any) -> Expression:
    left, right, binding = _lifted(left), _lifted(right), _SIGNS[sign]
    if sign == "**":
        return Expression(f"{_bound(left, _ATOM)}**{_bound(right, _ATOM)}", binding)
    space = " " if binding == 1 else ""
    first, second = _bound(left, binding), _bound(right, binding + 1)  # in the order in which it is computed
    return Expression(f"{first}{space}{sign}{space}{second}", binding)


def _bound(of: Expression, binding: int) -> str:
    return of.text if of.binding >= binding else f"({of.text})"


def _lifted(value: Any) -> Expression:
    """A number as an expression."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Unknown(f"{value!r}")
    text = repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    return Expression(text) if value >= 0 else Expression(text, _MINUS)


def text_of(function: Callable[..., Any], name: str) -> str:
    """A function of a point of shape (..., 2) as text; a function of ours gives the same values to rounding.

    Args:
        function: what a ``Surface`` has as its value.
        name: what errors call it.

    Raises:
        OptionError: it does something that a page cannot do.
    """
    try:
        made = function(_Point())
    except _Unknown as unknown:
        raise OptionError(_refusal(name, str(unknown))) from None
    except (TypeError, AttributeError, ValueError, RuntimeError, LookupError) as error:
        raise OptionError(_refusal(name, f"what its code does ({' '.join(str(error).split())})")) from error
    if not isinstance(made, Expression):
        raise OptionError(_refusal(name, f"a result that depends neither on x nor on y ({made!r})"))
    return made.text


def _refusal(name: str, what: str) -> str:
    return (
        f"{name} cannot run in a browser because of {what}: the page knows + - * / ** and {', '.join(FUNCTIONS)} of the two "
        "coordinates, taken by x, y = point.unbind(-1). `ravine contour` draws any function."
    )


def typed(text: str) -> str:
    """A function that the user typed, such as ``x**2 + 20*y**2``, as the page shows it.

    Raises:
        OptionError: it is not one, or uses what the page does not know.
    """
    where = f"The function {text!r}" if len(text) < 80 else "The function"
    if len(text) > _LONGEST:
        raise OptionError(f"The function has {len(text):,} characters; the page reads up to {_LONGEST:,}.")
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval")
        made = _lifted(_read(tree.body))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
        raise OptionError(f"{where} cannot be read ({reason}). Type it like {_EXAMPLE}.") from None
    except _Unknown as unknown:
        raise OptionError(f"{where}: {unknown}") from None
    if not {"x", "y"} & {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
        raise OptionError(f"{where} has neither x nor y in it. Type it like {_EXAMPLE}.")
    return made.text


_OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow,
    ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip


def _read(node: ast.expr) -> Expression:
    if isinstance(node, ast.Constant):
        return _lifted(node.value)
    if isinstance(node, ast.Name):
        if node.id in ("x", "y", *CONSTANTS):
            return Expression(node.id)
        raise _Unknown(f"there is no {node.id!r}. {nearest(node.id, ['x', 'y', *CONSTANTS, *FUNCTIONS])}")
    if isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) in _OPERATORS:
        parts = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.operand]
        made: Expression = _OPERATORS[type(node.op)](*map(_read, parts))
        return made
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in FUNCTIONS:
            raise _Unknown(f"there is no function {node.func.id!r}. {nearest(node.func.id, FUNCTIONS)}")
        if len(node.args) != 1 or node.keywords:
            raise _Unknown(f"{node.func.id} takes one number, {node.func.id}(x)")
        return _called(node.func.id, _read(node.args[0]))
    raise _Unknown(f"{ast.unparse(node)!r} is none of + - * / ** and {', '.join(FUNCTIONS)}. Type it like {_EXAMPLE}")
