"""Whether tensors are finite, and between which numbers they lie. Knows any tensor that a model may hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

_PLAIN = (Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", torch.nn.Parameter))
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_NARROW = 2  # bytes: floating-point types below this have no isfinite of their own


@dataclass(frozen=True)
class Span:
    """Between which finite numbers some tensors lie, and how many of their elements are not finite.

    Attributes:
        low, high: the smallest and largest finite element; NaN where there is none.
        total: how many elements there are.
        nan, inf, minus_inf: how many of them are that.
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
        """Compared by what is said of them, so that two spans without a finite element are the same."""
        return isinstance(other, Span) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __str__(self) -> str:
        if not self.total:
            return "empty"
        finite = f"between {self.low:.6g} and {self.high:.6g}" if self.bad < self.total else "nowhere finite"
        return f"{finite}, with {self.what} in {self.bad} of {self.total} elements" if self.bad else finite

    @property
    def what(self) -> str:
        """The kinds of its elements that are not finite, in words."""
        kinds = {"NaN": self.nan, "inf": self.inf, "-inf": self.minus_inf}
        return " and ".join(kind for kind, count in kinds.items() if count)


def span(tree: Any) -> Span:
    """That of all floating-point tensors in a tree of tuples, lists and dicts; of the integers if there are none."""
    held = tensors(tree)
    seen = [(t.dtype, values) for t in held if (values := numbers(t)) is not None]
    if not seen:
        seen = [(t.dtype, t) for t in held if type(t) in _PLAIN and t.dtype in _INTEGERS and t.device.type != "meta"]
    found = Span()
    for _, values in seen:
        found = _joined(found, _span(values))
    return replace(found, dtypes=tuple(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype, _ in seen)))


def _span(values: Tensor) -> Span:
    finite = values[torch.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (math.nan, math.nan)
    nan = int(values.isnan().sum())
    return Span(low, high, values.numel(), nan, int(values.isposinf().sum()), int(values.isneginf().sum()))


def _joined(a: Span, b: Span) -> Span:
    lows, highs = ([x for x in pair if not math.isnan(x)] for pair in ((a.low, b.low), (a.high, b.high)))
    return Span(
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
    """Its elements as real floating-point numbers; None where they cannot be anything but finite, or not be seen."""
    if type(tensor) not in _PLAIN or tensor.device.type == "meta" or tensor.is_quantized or tensor.is_nested:
        return None
    tensor = tensor.detach()
    if tensor.layout is torch.sparse_coo:
        tensor = tensor._values()
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
    """Whether that holds for all tensors in a tree."""
    return all(finite(tensor) for tensor in tensors(tree))


def first_bad(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where its first element stands that is not finite, and the first rows that have one; both may be empty."""
    values = numbers(tensor)
    if values is None or values.ndim == 0 or tensor.layout is not torch.strided:
        return (), ()
    places = torch.nonzero(~torch.isfinite(values))[:, : tensor.ndim]
    if not len(places):
        return (), ()
    rows: Iterable[int] = dict.fromkeys(places[:, 0].tolist())
    return tuple(places[0].tolist()), tuple(list(rows)[:5])
