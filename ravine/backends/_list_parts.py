"""The parts of a batch on lists: tensors that one call of an operation takes together.

Asking every tensor for its shape, dtype and device at every step would cost more than a step of small ones: what was asked is
kept, and asked again only if a gradient's kind, or the place of a parameter or state, is another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import attrgetter, or_
from typing import Any

import torch
from torch import Tensor

from ravine._compat.torch import is_fake
from ravine.backends import States, to_device
from ravine.backends._eager import real
from ravine.backends._layout import real_dtype
from ravine.backends._tensor_lists import TensorList
from ravine.formula import Program

_OF_GRADIENTS: list[Callable[[Tensor], Any]] = [*map(attrgetter, ("shape", "dtype", "layout")), Tensor.get_device]


@dataclass
class ListPart:
    """Parameters of a batch that are computed in one dtype.

    Attributes:
        chosen: which ones.
        dtype: that dtype.
        wide: the states that are not kept in fewer bits.
        narrow: what a step writes of any of them that has 16 or 8 bits.
        kept: their tensors, by buffer, without the gradients: as real numbers of the dtype in which they are kept.
        as_kept: the buffers, gradients too, whose tensors are real, and of the dtype in which they are computed.
    """

    chosen: list[int]
    dtype: torch.dtype
    wide: frozenset[str]
    narrow: tuple[str, ...]
    kept: Mapping[str, list[Tensor]]
    as_kept: frozenset[str]
    _everyone: bool
    _columns: Tensor | None = field(default=None, repr=False)

    def put(self, values: Tensor, table: Tensor) -> None:
        """Write values, a column for each of these parameters, into a table with one for each of the batch."""
        if self._everyone:
            table.copy_(values)
            return
        if self._columns is None:
            self._columns = to_device(torch.tensor(self.chosen), table.device)
        table.index_copy_(1, self._columns, values.to(table.dtype))

    def numbers(self, name: str, tensors: list[Tensor]) -> list[Tensor]:
        """What the real tensors of a buffer hold, in the dtype in which they are computed: themselves, if they have it."""
        if name in self.as_kept:
            return tensors
        made = [torch.empty_like(t, dtype=self.dtype) for t in tensors]
        torch._foreach_copy_(made, tensors)
        return made

    def lists(self, names: Sequence[str], grads: Sequence[Tensor | None]) -> dict[str, TensorList]:
        """What a pass reads."""
        read: dict[str, TensorList] = {}
        for name in names:
            tensors = self.kept[name] if name != "grad" else self.gradients(grads)
            read[name] = TensorList(self.numbers(name, tensors), False)
        return read

    def gradients(self, grads: Sequence[Tensor | None]) -> list[Tensor]:
        """Theirs among those of the batch, as real numbers."""
        theirs = [g for i in self.chosen if (g := grads[i]) is not None]
        return theirs if "grad" in self.as_kept else list(map(real, theirs))


class Parts:
    """The parts of a batch, made anew when a tensor is another.

    Args:
        program: what is run.
        params, states: of the batch.
        kind: of a parameter, what must be alike for a part: the dtype it is computed in, and its states that are wide.
        narrow: of a parameter, what a step writes of it in 16 or 8 bits.
    """

    def __init__(
        self,
        program: Program,
        params: Sequence[Tensor],
        states: Sequence[States],
        kind: Callable[[int], tuple[torch.dtype, frozenset[str]]],
        narrow: Callable[[int], tuple[str, ...]],
    ) -> None:
        self._program, self._params, self._states = program, list(params), list(states)
        self._kind, self._narrow = kind, narrow
        self._placed = [*params, *(s[name] for s in states for name in program.states)]
        self._seen: tuple[Any, ...] | None = None
        self._fake = any(map(is_fake, params))  # of those there are no addresses
        self._viewed = [t for t in self._placed if t.is_complex()]  # of which the parts have tensors of their own
        self._parts: list[ListPart] = []
        self._widest = 1  # bytes of the widest element of a gradient

    def unchanged(self, grads: Sequence[Tensor | None]) -> bool:
        """Whether nothing but the values of tensors is another than at the last ``take``, as far as a quick look tells."""
        if self._seen is None or self._seen != self._look(grads):
            return False
        # Of several dtypes the widest: that a gradient lies in the middle of an element is then found out one by one.
        return reduce(or_, [g.data_ptr() for g in grads if g is not None], 0) & (self._widest - 1) == 0

    @torch.no_grad()
    def take(self, grads: Sequence[Tensor | None]) -> None:
        """Gradients of another kind, or the first ones."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, grad in enumerate(grads):
            if grad is not None:
                groups[self._kind(i)].append(i)
        self._parts = [self._part([(i, grads[i]) for i in chosen], *kind) for kind, chosen in groups.items()]
        self._seen = None if self._fake else self._look(grads)
        self._widest = max((real_dtype(g.dtype).itemsize for g in grads if g is not None), default=1)

    def forget(self) -> None:
        self._seen = None

    def __iter__(self) -> Iterator[ListPart]:
        return iter(self._parts)

    def _part(self, stepped: list[tuple[int, Any]], dtype: torch.dtype, wide: frozenset[str]) -> ListPart:
        chosen = [i for i, _ in stepped]
        # Parameters themselves, not another tensor of their memory, which would keep that and the strides of before.
        kept = {"param": [real(p) for p in map(self._params.__getitem__, chosen)]}
        kept |= {name: [real(self._states[i][name]) for i in chosen] for name in self._program.states}
        narrow = tuple(sorted({name for i in chosen for name in self._narrow(i)}))
        of = {**kept, "grad": [grad for _, grad in stepped]}  # a complex one has another dtype than its numbers
        as_kept = frozenset(name for name, tensors in of.items() if all(t.dtype is dtype for t in tensors))
        return ListPart(chosen, dtype, wide, narrow, kept, as_kept, len(chosen) == len(self._params))

    def _look(self, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        there = [g for g in grads if g is not None]
        missing = [i for i, g in enumerate(grads) if g is None] if len(there) < len(grads) else []
        places = list(map(Tensor.data_ptr, self._placed)), list(map(Tensor.stride, self._viewed))
        return *places, missing, *(list(map(of, there)) for of in _OF_GRADIENTS)
