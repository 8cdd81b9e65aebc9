"""What a function written for torch's tensors is given in their place, so that it can be read as a formula.

It has the operators and the methods of a tensor, also those in place, which change what it stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ravine.errors import FormulaError
from ravine.formula._branches import Made
from ravine.formula._functions import exp, floor, log, maximum, minimum, sign, sqrt, tanh, where
from ravine.formula._outside import INSTEAD
from ravine.formula._pieces import param_copy
from ravine.formula._stand_in_sums import SUMS
from ravine.formula._symbols import Symbol

Value = Any


def _times(factor: Value, x: Value) -> Value:
    """The product; a factor of 1 is none."""
    return x if isinstance(factor, int | float) and factor == 1 else factor * x


def _add(a: Value, *given: Value, alpha: Value = 1) -> Value:
    factor, b = given if len(given) == 2 else (alpha, given[0])  # torch once took add(alpha, b)
    return a + _times(factor, b)


def _with_value(combine: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    def method(a: Value, *given: Value, value: Value = 1) -> Value:
        factor, x, y = given if len(given) == 3 else (value, *given)
        return a + _times(factor, combine(x, y))

    return method


def _clamp(a: Value, min: Value = None, max: Value = None) -> Value:
    a = a if min is None else maximum(a, min)
    return a if max is None else minimum(a, max)


def _as_number(a: Value) -> Value:
    """A truth value as 0 or 1."""
    return where(a, 1.0, 0.0) if isinstance(a, Symbol) and a.truth else a


_METHODS: dict[str, Callable[..., Value]] = {
    "add": _add,
    "sub": lambda a, b, alpha=1: a - _times(alpha, b),
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "true_divide": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "square": lambda a: a**2,
    "sqrt": sqrt,
    "rsqrt": lambda a: 1 / sqrt(a),
    "reciprocal": lambda a: 1 / a,
    "neg": lambda a: -a,
    "abs": abs,
    "sign": sign,
    "exp": exp,
    "log": log,
    "tanh": tanh,
    "floor": floor,
    "addcmul": _with_value(lambda x, y: x * y),
    "addcdiv": _with_value(lambda x, y: x / y),
    "lerp": lambda a, b, weight: a + weight * (b - a),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": maximum,
    "clamp_max": minimum,
    "maximum": maximum,
    "minimum": minimum,
    "copy": lambda a, b: b,
    "zero": lambda a: 0.0,
    "fill": lambda a, value: value,
    "detach": lambda a: a,
    "contiguous": lambda a: a,
    "masked_fill": lambda a, mask, value: where(mask, value, a),
    # Every tensor of a formula is computed in the precision of the parameter.
    **dict.fromkeys(("to", "type_as", "float", "double"), lambda a, *_, **__: _as_number(a)),
    **SUMS,
}
"""Methods of tensors by their names without the underscore of those that work in place."""

_FILLED = {"zeros_like": 0.0, "ones_like": 1.0}
_SHAPE = (
    "a formula is one for parameters of every shape. A state begins with torch.zeros_like(p); by the number of dimensions, "
    "pieces are chosen in a class with def formula(ndim)"
)
#: What is said of methods that a formula has not; of others what `_outside.py` says.
_NOT_HAD = {
    **dict.fromkeys(("shape", "size", "dim", "ndim", "ndimension", "new_zeros", "new_ones", "new_full"), _SHAPE),
}


class StandIn:
    """Stands for a tensor or a number.

    Args:
        value: what it stands for: a symbol, a number or a tensor.
        made: where the values are noted that a function makes to begin a state with, and what decides for it.
        grad: of a parameter, what stands for its gradient.
    """

    requires_grad = True
    is_sparse = False
    dtype = device = None  # whatever it is converted to

    def __init__(self, value: Value, made: Made, grad: StandIn | None = None) -> None:
        self.value, self.made, self.grad = value, made, grad

    @property
    def data(self) -> StandIn:
        """Itself: nothing here is differentiated."""
        return self

    @data.setter
    def data(self, value: Value) -> None:
        self.value = plain(value)

    def clone(self) -> StandIn:
        """Another that stands for the same."""
        if isinstance(self.value, Symbol) and self.value.name == "param":
            self.made.append(param_copy)
        return StandIn(self.value, self.made)

    def __getattr__(self, name: str) -> Callable[..., StandIn]:
        method = _METHODS.get(name.removesuffix("_"))
        if method is None or name.startswith("__"):
            if name.startswith("__"):
                raise AttributeError(name)
            raise FormulaError(f"it uses .{name}{_advice(name)}")

        def call(*given: Value, **options: Value) -> StandIn:
            value = method(self.value, *map(plain, given), **{key: plain(o) for key, o in options.items()})
            if not name.endswith("_"):
                return StandIn(value, self.made)
            self.value = value
            return self

        return call

    @classmethod
    def __torch_function__(cls, function: Callable[..., Any], _: Any, args: Any = (), kwargs: Any = None) -> StandIn:
        name = getattr(function, "__name__", str(function))
        made = next(a for a in args if isinstance(a, cls)).made
        if name in _FILLED or name == "full_like":
            start = args[1] if name == "full_like" else _FILLED[name]
            made.append(float(start))
            return cls(float(start), made)
        if name == "where":
            return cls(where(*map(plain, args)), made)
        if name.removesuffix("_") not in _METHODS:
            raise FormulaError(f"it uses torch.{name}{_advice(name)}")
        first = args[0] if isinstance(args[0], cls) else cls(args[0], made)
        result: StandIn = getattr(first, name)(*args[1:], **(kwargs or {}))
        return result

    def __setitem__(self, mask: Value, value: Value) -> None:
        condition = plain(mask)
        if not (isinstance(condition, Symbol) and condition.truth):
            raise FormulaError(
                "it writes to some of the elements; a formula chooses them by a condition, where(condition, a, b)"
            )
        self.value = where(condition, plain(value), self.value)

    def __getitem__(self, index: Value) -> NoReturn:
        raise FormulaError(
            "it takes some of the elements; a formula says what happens to every element alike, and where(condition, a, b) "
            "chooses for each"
        )

    def __format__(self, form: str) -> NoReturn:
        raise FormulaError(
            "it prints a value, and while a formula is read there is none; optimizer.watch has norms of each step"
        )

    def __bool__(self) -> bool:
        return self.made.decide(self.value)

    def __float__(self) -> NoReturn:
        raise FormulaError(
            "it takes the value of a number, as float, int and math.cos do: leave float and int out; of math a formula has sqrt, "
            "exp, log, tanh and floor"
        )

    __int__ = __index__ = __float__

    def __neg__(self) -> StandIn:
        return StandIn(-self.value, self.made)

    def __abs__(self) -> StandIn:
        return StandIn(abs(self.value), self.made)

    def __pow__(self, other: Value) -> StandIn:
        return StandIn(self.value ** plain(other), self.made)

    def __rpow__(self, other: Value) -> StandIn:
        return StandIn(other**self.value, self.made)

    def __add__(self, other: Value) -> StandIn:
        return StandIn(self.value + plain(other), self.made)

    def __radd__(self, other: Value) -> StandIn:
        return StandIn(other + self.value, self.made)

    def __sub__(self, other: Value) -> StandIn:
        return StandIn(self.value - plain(other), self.made)

    def __rsub__(self, other: Value) -> StandIn:
        return StandIn(other - self.value, self.made)

    def __mul__(self, other: Value) -> StandIn:
        return StandIn(self.value * plain(other), self.made)

    def __rmul__(self, other: Value) -> StandIn:
        return StandIn(other * self.value, self.made)

    def __truediv__(self, other: Value) -> StandIn:
        return StandIn(self.value / plain(other), self.made)

    def __rtruediv__(self, other: Value) -> StandIn:
        return StandIn(other / self.value, self.made)

    def __mod__(self, other: Value) -> StandIn:
        return StandIn(self.value % plain(other), self.made)

    def __floordiv__(self, other: Value) -> StandIn:
        return StandIn(self.value // plain(other), self.made)

    def __iadd__(self, other: Value) -> StandIn:
        self.value = self.value + plain(other)
        return self

    def __isub__(self, other: Value) -> StandIn:
        self.value = self.value - plain(other)
        return self

    def __imul__(self, other: Value) -> StandIn:
        self.value = self.value * plain(other)
        return self

    def __itruediv__(self, other: Value) -> StandIn:
        self.value = self.value / plain(other)
        return self

    def __lt__(self, other: Value) -> StandIn:
        return StandIn(self.value < plain(other), self.made)

    def __le__(self, other: Value) -> StandIn:
        return StandIn(self.value <= plain(other), self.made)

    def __gt__(self, other: Value) -> StandIn:
        return StandIn(self.value > plain(other), self.made)

    def __ge__(self, other: Value) -> StandIn:
        return StandIn(self.value >= plain(other), self.made)

    def __eq__(self, other: object) -> StandIn:  # type: ignore[override]
        return StandIn(self.value == plain(other), self.made)

    def __ne__(self, other: object) -> StandIn:  # type: ignore[override]
        return StandIn(self.value != plain(other), self.made)

    __hash__ = object.__hash__


def plain(x: Value) -> Value:
    """What a stand-in stands for, and the number of a tensor that is one; anything else as it is."""
    if not isinstance(x, StandIn | Symbol) and getattr(x, "ndim", None) == 0:
        return x.item()
    return x.value if isinstance(x, StandIn) else x


def _advice(name: str) -> str:
    advice = _NOT_HAD.get(name) or INSTEAD.get(name.removesuffix("_"), "")
    return f"; {advice}" if advice else ""
