"""Whether tensors are finite, and the range of their values. Handles any tensor that a model may hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ravine._compat import pytree
from ravine._compat.torch import sparse_values

_PLAIN = (Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", torch.nn.Parameter))
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_NARROW = 2  # bytes: floating-point types below this have no isfinite of their own


@dataclass(frozen=True)
class ValueRange:
    """The range of the finite values of some tensors, and how many of their elements are not finite.

    Attributes:
        low, high: the smallest and largest finite element; NaN where there is none.
        total: how many elements there are.
        nan, inf, minus_inf: how many of each there are.
        dtypes: of the tensors, such as ``("float16",)``.
    """

    low: float = math.nan
    high: float = math.nan
    total: int = 0
    nan: int = 0
    inf: int = 0
    minus_inf: int = 0
    dtypes: tuple[str, ...] = ()

    @property
    def bad(self) -> int:
        """How many elements are not finite."""
        return self.nan + self.inf + self.minus_inf

    def __eq__(self, other: object) -> bool:
        """Compared by their text, so that two ranges without a finite element are equal."""
        return isinstance(other, ValueRange) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __str__(self) -> str:
        if not self.total:
            return "empty"
        finite = f"between {self.low:.6g} and {self.high:.6g}" if self.bad < self.total else "nowhere finite"
        return f"{finite}, with {self.what} in {self.bad} of {self.total} elements" if self.bad else finite

    @property
    def what(self) -> str:
        """The kinds of elements that are not finite, in words."""
        kinds = {"NaN": self.nan, "inf": self.inf, "-inf": self.minus_inf}
        return " and ".join(kind for kind, count in kinds.items() if count)


def value_range(tree: Any) -> ValueRange:
    """The range of all floating-point tensors in a tree of tuples, lists and dicts; of the integers if there are none."""
    leaves = tensors(tree)
    used = [(t.dtype, values) for t in leaves if (values := numbers(t)) is not None]
    if not used:
        used = [(t.dtype, t) for t in leaves if type(t) in _PLAIN and t.dtype in _INTEGERS and t.device.type != "meta"]
    whole = ValueRange()
    for _, values in used:
        whole = _union(whole, _range_of(values))
    return replace(whole, dtypes=tuple(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype, _ in used)))


def _range_of(values: Tensor) -> ValueRange:
    finite = values[torch.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (math.nan, math.nan)
    nan = int(values.isnan().sum())
    return ValueRange(low, high, values.numel(), nan, int(values.isposinf().sum()), int(values.isneginf().sum()))


def _union(a: ValueRange, b: ValueRange) -> ValueRange:
    lows, highs = ([x for x in pair if not math.isnan(x)] for pair in ((a.low, b.low), (a.high, b.high)))
    return ValueRange(
        min(lows, default=math.nan),
        max(highs, default=math.nan),
        a.total + b.total,
        a.nan + b.nan,
        a.inf + b.inf,
        a.minus_inf + b.minus_inf,
    )


def tensors(tree: Any) -> list[Tensor]:
    """The tensors in a tree."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def numbers(tensor: Tensor) -> Tensor | None:
    """Its elements as real floating-point numbers; None where they are finite by their type, or cannot be read."""
    if type(tensor) not in _PLAIN or tensor.device.type == "meta" or tensor.is_quantized or tensor.is_nested:
        return None
    tensor = tensor.detach()
    if tensor.layout is torch.sparse_coo:
        tensor = sparse_values(tensor)
    elif tensor.layout is not torch.strided:
        tensor = tensor.values() if tensor.layout in (torch.sparse_csr, torch.sparse_csc) else tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if not tensor.is_floating_point():
        return None
    return tensor.float() if tensor.element_size() < _NARROW else tensor


def finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite."""
    values = numbers(tensor)
    return values is None or bool(torch.isfinite(values).all())


def all_finite(tree: Any) -> bool:
    """Whether that is so of all tensors in a tree."""
    return all(finite(tensor) for tensor in tensors(tree))


def first_bad(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The place of its first element that is not finite, and the first rows that have one; both may be empty."""
    values = numbers(tensor)
    if values is None or values.ndim == 0 or tensor.layout is not torch.strided:
        return (), ()
    places = torch.nonzero(~torch.isfinite(values))[:, : tensor.ndim]
    if not len(places):
        return (), ()
    rows: Iterable[int] = dict.fromkeys(places[:, 0].tolist())
    return tuple(places[0].tolist()), tuple(list(rows)[:5])
