"""The passes of a program: what each reads, computes for every element, sums and writes; what torch runs between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from ravine.formula._operations import Kind
from ravine.formula._python import code_name
from ravine.formula._symbols import Symbol, postorder
from ravine.formula._tensor_functions import CallOf


@dataclass(frozen=True)
class Reduction:
    """A number that a pass makes of a whole tensor.

    Attributes:
        name: the number's name in the program.
        over: one tensor, every tensor of a parameter group, or every tensor of the optimizer.
        join: if it runs over several tensors, under which name the sums of different programs are added up.
        guard: whether it counts bad elements, for ``nonfinite=``; no formula reads it.
        kind: what it is of the elements: their sum, that of their squares, or the largest magnitude.
    """

    name: str
    over: Literal["tensor", "group", "all"] = "tensor"
    join: str = ""
    guard: bool = False
    kind: Kind = "squares"


#: How many elements, rows and columns a tensor has, and the resolution of its dtype: known before the first pass, and handed
#: over as the sums are.
SIZES = {name: Reduction(name) for name in ("numel", "rows", "columns", "resolution")}


class Argument(NamedTuple):
    """What a function of whole tensors is given: a tensor of a parameter by its name, the number of that index, or a constant."""

    tensor: str = ""
    number: int = -1
    constant: float | None = None


class Call(NamedTuple):
    """A function of whole tensors that torch runs after a pass.

    Attributes:
        of: what is called.
        args: what it is given.
        results: where each of the tensors that it gives goes: a temporary that later passes read, or empty.
        states: the states with shapes of their own that become them, or empty; when the step is written.
    """

    of: CallOf
    args: tuple[Argument, ...]
    results: tuple[str, ...]
    states: tuple[str, ...]


class Pass:
    """One pass over memory.

    Attributes:
        results: what it computes per element: the argument of each reduction, and then the new value of each written buffer.
        writes: the buffers that are written: by the last pass parameters and states, before it temporaries.
        reductions: what the first results are summed for; empty for the last pass.
        calls: what torch runs after it.
        reads: the buffers it reads.
        numbers: the numbers that its elements and the calls after it use, in the order in which ``Program.numbers`` gives them.
    """

    def __init__(
        self,
        results: Sequence[Symbol],
        *,
        writes: Sequence[str] = (),
        reductions: Sequence[Reduction] = (),
        names: Mapping[Symbol, str] | None = None,
        given: Sequence[Symbol] = (),
    ) -> None:
        self.results, self.writes, self.reductions = tuple(results), tuple(writes), tuple(reductions)
        self.calls: tuple[Call, ...] = ()
        self._names = names or {}  # of what calls gave
        elements, numbers = [], []
        for symbol in postorder(results, into=_computed):
            if symbol.op in ("buffer", "result"):
                elements.append(symbol)
            elif not symbol.element and symbol.op != "constant":
                numbers.append(symbol)
        self.reads = tuple(self.name_of(s) for s in elements)
        self.numbers = tuple(numbers)
        if not all(r.element for r in results):
            # A formula may set a tensor to a number (param = 0 * lr); the elements then only copy it.
            self.numbers += tuple(r for r in results if not r.element and r.op != "constant" and r not in _Set(numbers))
        self.numbers += tuple(n for n in given if n not in _Set(self.numbers))

    def name_of(self, symbol: Symbol) -> str:
        """The name of the buffer that a symbol stands for."""
        return symbol.name or self._names[symbol]

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """A name in generated code for each of ``numbers``: a hyperparameter and a kept number keep their own."""
        return tuple(code_name(s.name) if s.op in ("number", "kept") else f"n{i}" for i, s in enumerate(self.numbers))

    def leaves(self) -> dict[Symbol, str]:
        """What the element stage starts from: the symbols of buffers and numbers, with their names in code."""
        named = dict(zip(self.numbers, self.number_names, strict=True))
        for symbol in postorder(self.results, into=_computed):
            if symbol.op in ("buffer", "result"):
                named[symbol] = code_name(self.name_of(symbol))
        return named


def _computed(symbol: Symbol) -> bool:
    """Whether a pass computes it from its arguments."""
    return symbol.element and symbol.op != "result"


class _Set:
    """Membership by identity: ``==`` of symbols makes a symbol."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self._ids = {id(s) for s in symbols}

    def __contains__(self, symbol: Symbol) -> bool:
        return id(symbol) in self._ids
