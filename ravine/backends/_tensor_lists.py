"""Arithmetic on lists of tensors: a formula's text, run with these, becomes calls of ``torch._foreach_*``.

A product, a quotient and a sum wait until they are used, so that ``a * x + b * (y * z)`` is the two operations that
torch's own loops make of it (``mul``, ``addcmul``), in place where the result goes to where ``x`` is. What torch has no
operation on lists for is done tensor by tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.formula import _functions as functions

#: The scale of a denominator goes into its quotient from here to the inverse of this.
_SMALLEST = 2.0**-10


class PerTensor:
    """A number for each tensor."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = list(values)


class _Value:
    """Something that is a list of tensors, now or when it is used."""

    __array_ufunc__ = None
    __hash__ = object.__hash__

    def now(self) -> TensorList:
        raise NotImplementedError

    def __mul__(self, other: Any) -> _Value:
        if isinstance(other, Inverse):
            return other * self
        return Product(self.now(), other.now(), 1.0) if isinstance(other, _Value) else Product(self.now(), None, other)

    __rmul__ = __mul__

    def __neg__(self) -> _Value:
        return Product(self.now(), None, -1.0)

    def __add__(self, other: Any) -> _Value:
        return Sum(self, other, 1.0)

    __radd__ = __add__

    def __sub__(self, other: Any) -> _Value:
        return Sum(self, other, -1.0) if isinstance(other, _Value) else each(operator.sub, self, other)

    def __rsub__(self, other: Any) -> _Value:
        return Sum(-self, other, 1.0)

    def _compared(name: str) -> Any:  # type: ignore[misc]
        return lambda self, other: each(getattr(operator, name), self, other)

    __lt__, __le__, __gt__, __ge__ = map(_compared, ("lt", "le", "gt", "ge"))
    __eq__, __ne__ = map(_compared, ("eq", "ne"))
    __and__, __or__ = __rand__, __ror__ = tuple(map(_compared, ("and_", "or_")))
    __truediv__ = lambda self, other: div(self, other)  # noqa: E731
    __rtruediv__ = lambda self, other: div(other, self)  # noqa: E731


class TensorList(_Value):
    """A list of tensors; one that is ``fresh`` is used once, and may be written over."""

    def __init__(self, tensors: Sequence[Tensor], fresh: bool = True) -> None:
        self.tensors, self.fresh = list(tensors), fresh

    def now(self) -> TensorList:
        return self

    def run(self, name: str, *others: Any, target: TensorList | None = None, **options: Any) -> TensorList:
        """``torch._foreach_<name>`` of this list, in place if it is fresh or the target."""
        # A number on the device is of their dtype: with another, torch would launch an operation for each tensor.
        dtype = self.tensors[0].dtype
        others = tuple(o.to(dtype) if isinstance(o, Tensor) else _argument(o) for o in others)
        if self.fresh or self is target:
            getattr(torch, f"_foreach_{name}_")(self.tensors, *others, **options)
            return self
        return TensorList(getattr(torch, f"_foreach_{name}")(self.tensors, *others, **options))


class Product(_Value):
    """``scale * a * b``, ``scale * a / b``, or ``scale * a``, not yet computed."""

    def __init__(self, a: TensorList, b: TensorList | None, scale: Any, quotient: bool = False) -> None:
        self.a, self.b, self.scale, self.quotient = a, b, scale, quotient

    def __mul__(self, other: Any) -> _Value:
        if self.plain and isinstance(other, int | float):
            return Product(self.a, self.b, self.scale * other, self.quotient)
        return super().__mul__(other)

    __rmul__ = __mul__

    @property
    def plain(self) -> bool:
        """Whether the scale is a number on the host, which torch's operations take."""
        return isinstance(self.scale, int | float)

    def reads(self, target: TensorList) -> bool:
        return self.a is target or self.b is target

    def now(self, target: TensorList | None = None) -> TensorList:
        made = self.a
        if self.b is not None:
            same = self.a is self.b and self.a.fresh  # x * x must not write over what it still reads
            start = TensorList(self.a.tensors, False) if same else self.a
            made = start.run("div" if self.quotient else "mul", self.b, target=target)
        return made if self.plain and self.scale == 1.0 else made.run("mul", self.scale, target=target)


class Inverse(_Value):
    """``scale / b`` with a number, not yet computed: what it is multiplied by is divided by b instead."""

    def __init__(self, b: TensorList, scale: float) -> None:
        self.b, self.scale = b, scale

    def __mul__(self, other: Any) -> _Value:
        if isinstance(other, int | float):
            return Inverse(self.b, self.scale * other)
        if isinstance(other, Product) and other.b is None and other.plain:
            return Product(other.a, self.b, other.scale * self.scale, quotient=True)
        return (
            Product(other.now(), self.b, self.scale, quotient=True) if isinstance(other, _Value) else self.now() * other
        )

    __rmul__ = __mul__

    def now(self) -> TensorList:
        return each(functions.div, self.scale, self.b)


class Sum(_Value):
    """``a + sign * b``, not yet computed."""

    def __init__(self, a: Any, b: Any, sign: float) -> None:
        self.a, self.b, self.sign = a, b, sign

    def now(self, target: TensorList | None = None) -> TensorList:
        a, b, sign = self.a, self.b, self.sign
        if not isinstance(b, _Value):
            return a.now().run("add", b)
        if sign == 1.0 and (not isinstance(a, _Value) or (_product(a) and not _product(b))):
            a, b = b, a  # the product is what is added
            if not isinstance(b, _Value):
                return a.now().run("add", b)
        if isinstance(b, Sum | Extreme | Inverse):
            b = b.now()
        if target is not None and (b is target or (isinstance(b, Product) and b.reads(target))):
            target = None
        base = a.now(target) if isinstance(a, Product) and a.a is target else a.now()
        if not isinstance(b, Product):
            return base.run("add", b, target=target, alpha=sign)
        if not b.plain:
            return base.run("add", b.now(), target=target, alpha=sign)
        if b.b is None:
            return base.run("add", b.a, target=target, alpha=sign * b.scale)
        name = "addcdiv" if b.quotient else "addcmul"
        return base.run(name, b.a, b.b, target=target, value=sign * b.scale)

    def divided(self) -> tuple[Sum, float] | None:
        """Of ``c * x + e`` with numbers c > 0 and e: ``x + e / c``, and c, which a quotient takes into its own scale."""
        a, e = self.a, self.b
        if not (isinstance(a, Product) and a.b is None and a.plain and isinstance(e, int | float) and self.sign == 1.0):
            return None
        # Far from where a quotient could overflow. With a negative c a sum of 0 would be a 0 of the other sign.
        if not _SMALLEST <= a.scale <= 1 / _SMALLEST:
            return None
        return Sum(a.a, e / a.scale, 1.0), a.scale


class Extreme(_Value):
    """``minimum`` or ``maximum`` of a and b, not yet computed."""

    def __init__(self, a: _Value, b: TensorList, name: str) -> None:
        self.a, self.b, self.name = a, b, name

    def now(self, target: TensorList | None = None) -> TensorList:
        a = self.a
        if isinstance(a, Product) and a.a is target and not any(x is target for x in (a.b, self.b)):
            return a.now(target).run(self.name, self.b, target=target)
        return a.now().run(self.name, self.b, target=target)


def _product(value: Any) -> bool:
    return isinstance(value, Product) and value.b is not None


def _argument(value: Any) -> Any:
    if isinstance(value, TensorList):
        return value.tensors
    return value.values if isinstance(value, PerTensor) else value


def kept(value: Any) -> Any:
    """A value that has a name: it is computed, and nobody writes over it."""
    if not isinstance(value, _Value):
        return value
    return TensorList(value.now().tensors, False)


def apart(value: Any) -> Any:
    """As ``kept``, and not changed by what is written later: ``1.0 * x`` and ``where`` of a number are ``x`` itself."""
    made = value.now() if isinstance(value, _Value) else value
    if isinstance(made, TensorList) and not made.fresh:
        made = TensorList([t.clone() for t in made.tensors])
    return kept(made)


def put(target: TensorList, value: Any) -> TensorList:
    """Write a value to where the target is, and that is the value from here on."""
    if isinstance(value, Sum | Extreme) or (isinstance(value, Product) and value.a is target):
        made = value.now(target)
    elif isinstance(value, _Value):
        made = value.now()
    else:
        made = each(lambda t, v: functions.element(v, t).expand_as(t), target, value)
    if made.tensors is not target.tensors:
        torch._foreach_copy_(target.tensors, made.tensors)
    return target


def each(function: Callable[..., Any], *values: Any) -> TensorList:
    """What a function of tensors and numbers gives, tensor by tensor."""
    lists = [v.now() if isinstance(v, _Value) else v for v in values]
    count = next(len(v.tensors) for v in lists if isinstance(v, TensorList))
    columns = [_argument(v) if isinstance(v, TensorList | PerTensor) else [v] * count for v in lists]
    rows = list(zip(*columns, strict=True))
    made = [_as_large(function(*row), row) for row in rows]
    # ``where`` of a number gives one of its arguments as it is, which others may still read.
    for value in lists:
        if isinstance(value, TensorList) and all(m is x for m, x in zip(made, value.tensors, strict=True)):
            return value
    return TensorList([m.clone() if any(m is x for x in row) else m for m, row in zip(made, rows, strict=True)])


def _as_large(value: Any, row: Sequence[Any]) -> Tensor:
    """A result as a tensor of its list: ``where`` of a number may have chosen a number."""
    like = max((x for x in row if isinstance(x, Tensor)), key=lambda x: (x.ndim, x.is_floating_point()))
    if isinstance(value, Tensor) and value.ndim == like.ndim:
        return value
    dtype = value.dtype if isinstance(value, Tensor) else like.dtype
    return torch.as_tensor(value, dtype=dtype, device=like.device).expand_as(like).clone()


def div(a: Any, b: Any) -> Any:
    if isinstance(a, _Value) and isinstance(b, Sum) and (divided := b.divided()):
        return div(a, divided[0]) * (1 / divided[1])
    if isinstance(a, Product) and a.b is None and a.plain and isinstance(b, _Value):
        return Product(a.a, b.now(), a.scale, quotient=True)
    if isinstance(a, _Value) and isinstance(b, _Value):
        return Product(a.now(), b.now(), 1.0, quotient=True)
    if isinstance(a, _Value):
        return a.now().run("div", b)
    return Inverse(b.now(), a) if isinstance(a, int | float) else each(functions.div, a, b)


def _unary(name: str) -> Callable[[Any], Any]:
    of_number: Any = abs if name == "abs" else getattr(functions, name)
    return lambda x: x.now().run(name) if isinstance(x, _Value) else of_number(x)


def _extreme(name: str) -> Callable[[Any, Any], Any]:
    both: Any = getattr(functions, name)

    def call(a: Any, b: Any) -> Any:
        together = isinstance(a, _Value) and isinstance(b, _Value)
        return Extreme(a, b.now(), name) if together else each(both, a, b)

    return call


def _isfinite(x: Any) -> Any:
    """As torch's, in two operations in place of four: 0 times NaN and infinity is NaN, which is not 0."""
    return each(operator.eq, Product(x.now(), None, 0.0).now(), 0.0) if isinstance(x, _Value) else functions.isfinite(x)


def _where(condition: Any, a: Any, b: Any) -> Any:
    """Of a number on the host: what is not chosen is not computed, and a number that is chosen stays one."""
    if isinstance(condition, bool | int | float):
        return a if condition else b
    return _by_each(functions.where)(condition, a, b)


def _by_each(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: each(function, *values) if any(isinstance(v, _Value) for v in values) else function(*values)


def scope() -> dict[str, Any]:
    """The functions of the formula language, of lists of tensors."""
    known = {n: _by_each(f) if callable(f) else f for n, f in vars(functions).items() if not n.startswith("_")}
    known |= {name: _unary(name) for name in ("sqrt", "abs", "exp", "log", "tanh")}
    known |= {name: _extreme(name) for name in ("minimum", "maximum")}
    return {**known, "div": div, "isfinite": _isfinite, "where": _where, "kept": kept, "apart": apart, "put": put}
