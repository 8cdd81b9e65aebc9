"""Symbols: what the arguments of a piece are while its formula is traced.

A symbol is a node of an expression: an operation and its arguments. It records; it computes nothing. Three
kinds of value exist, and the kind decides where a backend computes it:

- a *number* is one value for the whole optimizer or for one tensor (a hyperparameter, ``step``, ``norm(x)``, a kept
  number), computed outside the loop in double precision;
- an *element* is a value per element of a tensor (``param``, ``grad``, a state), computed inside the loop;
- either may be a *truth value* (``update > 0``), made for ``where``.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ravine.errors import FormulaError, an
from ravine.formula._operations import (
    ALONG,
    FULL,
    INFIX,
    OF_COLUMN,
    OF_MATRIX,
    OF_ROW,
    OPERATIONS,
    REDUCTIONS,
)
from ravine.formula._outside import OF_TENSORS, PUBLIC, foreign, outside, refused
from ravine.formula._written import written

#: What Python's operators call if a NumPy number stands on their left.
_UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "power": "pow", "less": "lt",
    "less_equal": "le", "greater": "gt", "greater_equal": "ge", "equal": "eq", "not_equal": "ne",
}  # fmt: skip


class Symbol:
    """A node of a formula: ``op`` applied to ``args``; a leaf has a name or a constant value instead.

    Attributes:
        op: an operation of ``_operations.py``, or ``"buffer"``, ``"number"``, ``"kept"``, ``"tensor"`` (named leaves), ``"constant"``,
            ``"call"`` of a function of whole tensors and ``"result"``, one that it gave.
        args: the argument symbols; empty for a leaf.
        name: the name of a named leaf; of a sum over several tensors, which piece asked for it (see ``_tracing.py``).
        value: the value of a constant; which function is called, or which result it is.
        axes: along which dimensions it differs, as ``_operations.py`` has them; 0 for a number.
        element: True if it is a value per element, row or column, False if it is a number.
        truth: True if it is a truth value.
        level: how many passes over memory must be done before it can be computed (0 without ``norm``).
    """

    __slots__ = ("args", "axes", "element", "level", "name", "op", "truth", "value")

    def __init__(
        self, op: str, args: tuple[Symbol, ...] = (), name: str = "", value: Any = 0.0, axes: int | None = None
    ) -> None:
        self.op, self.args, self.name, self.value = op, args, name, value
        reduction = op in REDUCTIONS or op == "call"
        self.axes = _axes(op, args) if axes is None else axes
        self.element: bool = self.axes > 0
        self.truth: bool = (op in OPERATIONS and OPERATIONS[op].truth) or (op == "where" and args[1].truth)
        self.level: int = max((a.level for a in args), default=0) + reduction

    def __add__(self, other: object) -> Symbol:
        return apply("add", self, other)

    def __radd__(self, other: object) -> Symbol:
        return apply("add", other, self)

    def __sub__(self, other: object) -> Symbol:
        return apply("sub", self, other)

    def __rsub__(self, other: object) -> Symbol:
        return apply("sub", other, self)

    def __mul__(self, other: object) -> Symbol:
        return apply("mul", self, other)

    def __rmul__(self, other: object) -> Symbol:
        return apply("mul", other, self)

    def __truediv__(self, other: object) -> Symbol:
        return apply("div", self, other)

    def __rtruediv__(self, other: object) -> Symbol:
        return apply("div", other, self)

    def __pow__(self, other: object, modulus: object = None) -> Symbol:
        if modulus is not None:
            outside("pow with a modulus")
        # A call of pow is 20 times a multiplication; the powers that formulas use need none.
        if isinstance(other, int | float) and not isinstance(other, bool):
            if other in (1, 2, 3):
                product = self
                for _ in range(int(other) - 1):
                    product = apply("mul", product, self)
                return product
            if other == 0.5:
                return apply("sqrt", self)
        return apply("pow", self, other)

    def __rpow__(self, other: object) -> Symbol:
        return apply("pow", other, self)

    def __neg__(self) -> Symbol:
        return apply("mul", -1.0, self)

    def __pos__(self) -> Symbol:
        return self

    def __abs__(self) -> Symbol:
        return apply("abs", self)

    def __lt__(self, other: object) -> Symbol:
        return apply("lt", self, other)

    def __le__(self, other: object) -> Symbol:
        return apply("le", self, other)

    def __gt__(self, other: object) -> Symbol:
        return apply("gt", self, other)

    def __ge__(self, other: object) -> Symbol:
        return apply("ge", self, other)

    def __eq__(self, other: object) -> Symbol:  # type: ignore[override]
        return apply("eq", self, other)

    def __ne__(self, other: object) -> Symbol:  # type: ignore[override]
        return apply("ne", self, other)

    def __and__(self, other: object) -> Symbol:
        return apply("and", self, other)

    def __or__(self, other: object) -> Symbol:
        return apply("or", self, other)

    def __rand__(self, other: object) -> Symbol:
        return apply("and", other, self)

    def __ror__(self, other: object) -> Symbol:
        return apply("or", other, self)

    def __invert__(self) -> Symbol:
        return apply("logical_not", self)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return written(self)

    # What follows is not in the language. Each error says what to write instead.

    def __bool__(self) -> NoReturn:
        instead = (
            "write where(condition, a, b), or maximum(a, b) and minimum(a, b) of ravine.formula"
            if self.element
            else "write where(condition, a, b), or choose the piece in Python where the list of pieces is made"
        )
        raise FormulaError(
            f"whether `{self!r}` holds is not known while a formula is read, so `if`, `and`, `or`, `not`, "
            f"`min`, `max` and chained comparisons cannot use it: {instead}"
        )

    def __float__(self, *_: object) -> NoReturn:
        raise FormulaError(
            f"{self!r} has no value while a formula is read, so math.sqrt, float() and their kind cannot take it: "
            f"write Python's abs, or the function of the same name from ravine.formula ({', '.join(PUBLIC[1:])})"
        )

    __int__ = __index__ = __complex__ = __round__ = __floor__ = __ceil__ = __trunc__ = __float__

    def __format__(self, form: str) -> str:
        if not form:
            return str(self)
        raise FormulaError(
            f"{self!r} has no value while a formula is read, so {form!r} cannot format it: print it without"
        )

    def __getitem__(self, index: object) -> NoReturn:
        text = f"({self!r})" if self.args else repr(self)
        outside(
            f"{text}[{reprlib.repr(index)}]",
            "; a formula says what happens to every element alike" if self.element else f"; {self!r} is one number",
        )

    __matmul__ = __rmatmul__ = refused(
        "@", f"; {OF_TENSORS}. Of a whole tensor a formula has sum, mean, dot, norm, rms, amax and numel"
    )

    def __floordiv__(self, other: object) -> Symbol:
        return apply("floor", apply("div", self, other))

    def __rfloordiv__(self, other: object) -> Symbol:
        return apply("floor", apply("div", other, self))

    def __mod__(self, other: object) -> Symbol:
        return apply("sub", self, apply("mul", self // other, other))

    def __rmod__(self, other: object) -> Symbol:
        return apply("sub", other, apply("mul", other // self, self))

    __divmod__ = __rdivmod__ = refused("divmod")
    __iter__ = refused(
        "a loop over a tensor or number, or taking it apart",
        "; Python's sum is one, and the sum of all elements is sum of ravine.formula",
    )
    __len__ = refused("len")
    __setitem__ = refused("x[...] = ...", "; a piece returns the new values")
    __contains__ = refused("in")
    __call__ = refused("a call of a tensor or number", "; is there a * missing before a bracket?")
    __lshift__ = __rlshift__ = refused("<<")
    __rshift__ = __rrshift__ = refused(">>")
    __xor__ = __rxor__ = refused("^", "; a power is written **")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Symbol:
        if ufunc.__name__ in _UFUNCS and method == "__call__" and not options:
            return apply(_UFUNCS[ufunc.__name__], *inputs)
        foreign(f"numpy.{ufunc.__name__}", ufunc.__name__)

    @classmethod
    def __torch_function__(cls, function: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        for value in args:  # c * grad: it is the tensor that does not belong there
            if not isinstance(value, cls) and hasattr(value, "shape"):
                lift(value)
        name = getattr(function, "__name__", str(function))
        foreign(f"{_module(function, name)}.{name.removeprefix('linalg_')}", name.removeprefix("linalg_"))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # protocols that Python and libraries probe for must see that they are absent
            raise AttributeError(name)
        foreign(f".{name}", name)


@dataclass(frozen=True)
class Assignment:
    """One line of the formula: piece ``piece`` gave ``name`` the value ``value``."""

    piece: str
    name: str
    value: Symbol


def _module(function: Callable[..., Any], name: str) -> str:
    """Where a user of torch finds a function."""
    module = str(getattr(function, "__module__", None))
    if name.startswith("linalg_"):
        return "torch.linalg"
    return "torch.nn.functional" if module in ("torch.nn.functional", "torch._C._nn") else "torch"


def _axes(op: str, args: tuple[Symbol, ...]) -> int:
    """Along which dimensions an operation's value differs."""
    if op in REDUCTIONS or op == "call":
        return 0
    axes = FULL if op in ("buffer", "result") else 0
    for a in args:
        axes |= a.axes
    if op in ALONG:
        return (axes | OF_MATRIX) & ~(OF_COLUMN if ALONG[op] == -1 else OF_ROW)
    return FULL if op == "result" else axes


def constant(value: float) -> Symbol:
    """A number that is written in the formula."""
    return Symbol("constant", value=float(value))


def buffer(name: str, axes: int = FULL) -> Symbol:
    """An element leaf: the tensor of that name, with a value for each element, or for each row or column."""
    return Symbol("buffer", name=name, axes=axes)


def whole(name: str) -> Symbol:
    """A leaf that only functions of whole tensors read: a state with a shape of its own."""
    return Symbol("tensor", name=name)


def number(name: str) -> Symbol:
    """A number leaf: a hyperparameter or ``step``."""
    return Symbol("number", name=name)


def kept(name: str) -> Symbol:
    """A number leaf: a state that is one number, as it was before the step."""
    return Symbol("kept", name=name)


def lift(value: object) -> Symbol:
    """The symbol itself, or the constant symbol of a Python or NumPy number."""
    if isinstance(value, Symbol):
        return value
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, int | float):
        try:
            return constant(value)
        except OverflowError:
            raise FormulaError(
                "a whole number is too large for a double, whose largest is 1.8e308: write inf"
            ) from None
    if isinstance(value, tuple | list) and value and all(isinstance(v, Symbol) and v.name.endswith("]") for v in value):
        name = value[0].name.partition("[")[0]
        parts = ", ".join(f"{name.removesuffix('s')}{i}" for i in range(1, len(value) + 1))
        raise FormulaError(
            f"{name} is a tuple of {len(value)} numbers, and is used as one: take it apart, {parts} = {name}"
        )
    shape = getattr(value, "shape", ())
    if math.prod(shape) != 1:
        raise FormulaError(
            f"a formula is made of its arguments and of numbers, but it uses a tensor of shape {tuple(shape)}: a "
            "value for every element can only be a state, and a number a hyperparameter"
        )
    raise FormulaError(
        f"a formula is made of its arguments and of numbers, but it uses {reprlib.repr(value)} "
        f"({an(type(value).__name__)}); pass it as a hyperparameter or as a number"
    )


def _truth(value: object) -> Symbol:
    """The symbol of a truth value, which may be one of Python's."""
    if isinstance(value, bool | np.bool_):
        return Symbol("eq", (constant(1.0), constant(1.0 if value else 0.0)))
    return lift(value)


def apply(op: str, *args: object) -> Symbol:
    """The operation ``op`` on symbols and numbers, with the kinds of its arguments checked."""
    if op in ("and", "or", "logical_not"):
        symbols = tuple(map(_truth, args))
    elif op == "where":
        truths = any(isinstance(a, bool | np.bool_) or (isinstance(a, Symbol) and a.truth) for a in args[1:])
        symbols = (_truth(args[0]), *map(_truth if truths else lift, args[1:]))
    else:
        symbols = tuple(map(lift, args))
    if (whole_tensor := next((s for s in symbols if s.op == "tensor"), None)) is not None:
        raise FormulaError(
            f"{whole_tensor.name} is a tensor of a shape of its own: only a function that is marked @tensor_function takes "
            "it, and gives tensors of the parameter's shape"
        )
    if op in ("and", "or", "logical_not"):
        if not all(s.truth for s in symbols):
            raise FormulaError("& | ~ combine truth values such as (update > 0); they got a number")
    elif op == "where":
        if not symbols[0].truth:
            raise FormulaError("the first argument of where is a truth value such as (update > 0); it got a number")
        if symbols[1].truth != symbols[2].truth:
            raise FormulaError("where chooses between two numbers or between two truth values, not between one of each")
    elif any(s.truth for s in symbols):
        shown = "a sum" if op in REDUCTIONS or op in ALONG else INFIX.get(op, op)
        raise FormulaError(f"a truth value cannot be used as a number in {shown}: write where(condition, 1, 0)")
    if op in REDUCTIONS and not symbols[0].element:
        raise FormulaError("a sum or norm takes a tensor (grad, param, update or a state); it got a number")
    return Symbol(op, symbols)


def postorder(roots: Iterable[Symbol], into: Callable[[Symbol], bool] = lambda symbol: True) -> Iterator[Symbol]:
    """Every symbol below the roots once, arguments first; the arguments of those that ``into`` refuses are left out."""
    seen: set[int] = set()
    stack = [(s, False) for s in reversed(list(roots))]
    while stack:
        symbol, ready = stack.pop()
        if ready:
            yield symbol
        elif id(symbol) not in seen:
            seen.add(id(symbol))
            stack.append((symbol, True))
            if into(symbol):
                stack.extend((a, False) for a in reversed(symbol.args))
