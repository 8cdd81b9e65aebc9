"""The program: what a list of pieces becomes when it is traced, and the only thing that backends know.

A program is a graph of elementwise operations cut into *passes* over memory. A formula without ``norm`` has one
pass. Each level of ``norm`` adds one before it that reads and sums but writes nothing. A pass has two stages:
numbers, computed once in double precision, and elements, computed for every element of a tensor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ravine.formula import _functions as functions
from ravine.formula._latex import formula_latex
from ravine.formula._operations import REDUCTIONS, Kind
from ravine.formula._pieces import Scalar
from ravine.formula._python import Statements, code_name
from ravine.formula._symbols import Assignment, Symbol, apply, buffer, postorder

#: The name of the sum that counts the elements of a gradient that are not finite.
_NONFINITE_COUNT = "nonfinite"


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


#: How many elements a tensor has: known before the first pass, and handed over as the sums are.
NUMEL = Reduction("numel")


class Pass:
    """One pass over memory.

    Attributes:
        results: what it computes per element: the new value of each written buffer, or the argument of each sum.
        writes: for the last pass, the buffer that each result is written to; empty for a pass that sums.
        reductions: for a pass that sums, what each result, or its square, is summed for; empty for the last pass.
        reads: the buffers it reads.
        numbers: the numbers that its elements use, in the order in which ``Program.numbers`` gives them.
    """

    def __init__(
        self, results: Sequence[Symbol], *, writes: Sequence[str] = (), reductions: Sequence[Reduction] = ()
    ) -> None:
        self.results, self.writes, self.reductions = tuple(results), tuple(writes), tuple(reductions)
        elements, numbers = [], []
        for symbol in postorder(results, into=lambda s: s.element):
            if symbol.op == "buffer":
                elements.append(symbol)
            elif not symbol.element and symbol.op != "constant":
                numbers.append(symbol)
        self.reads = tuple(s.name for s in elements)
        self.numbers = tuple(numbers)
        if not all(r.element for r in results):
            # A formula may set a tensor to a number (param = 0 * lr); the elements then only copy it.
            self.numbers += tuple(r for r in results if not r.element and r.op != "constant" and r not in _Set(numbers))

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """A name in generated code for each of ``numbers``: a hyperparameter and a kept number keep their own."""
        return tuple(code_name(s.name) if s.op in ("number", "kept") else f"n{i}" for i, s in enumerate(self.numbers))

    def leaves(self) -> dict[Symbol, str]:
        """What the element stage starts from: the symbols of buffers and numbers, with their names in code."""
        named = dict(zip(self.numbers, self.number_names, strict=True))
        for symbol in postorder(self.results, into=lambda s: s.element):
            if symbol.op == "buffer":
                named[symbol] = code_name(symbol.name)
        return named


class Program:
    """A traced formula. Made by ``ravine.formula.trace_formula``.

    Attributes:
        states: initial value (a number or ``param_copy``) of each state, by name, in the order of the formula.
        kept: the same of each state that is one number.
        hypers: the hyperparameters it uses, by name; one element of a tuple is ``"betas[0]"``.
        uses_step: True if it depends on the number of the step.
        uses_numel: True if it depends on how many elements a tensor has.
        assignments: the formula line by line, for those who print it.
        passes: the passes over memory, in order; the last one writes.
        guarded: whether the first pass also counts the elements of the gradient that are not finite.
    """

    def __init__(
        self,
        new: Mapping[str, Symbol],
        states: Mapping[str, Any],
        assignments: Sequence[Assignment],
        guarded: bool = False,
        kept: Mapping[str, Scalar] | None = None,
    ) -> None:
        shown, unique = _Unique(), _Unique(reciprocals=True)
        self.assignments = tuple(Assignment(a.piece, a.name, shown(a.value)) for a in assignments)
        self.states, self.kept = dict(states), dict(kept or {})
        given = {name: unique(value) for name, value in new.items()}
        self._new_kept = [given.pop(name) for name in self.kept]
        written = {n: v for n, v in given.items() if not (v.op == "buffer" and v.name == n)}
        everything = list(postorder([*written.values(), *self._new_kept]))
        leaves = [s.name for s in everything if s.op == "number"]
        self.hypers = tuple(n for n in leaves if n != "step")
        self.uses_step = "step" in leaves
        self.uses_numel = any(s.op == "numel" for s in everything)
        sums = [s for s in everything if s.op in REDUCTIONS]
        self._reductions: dict[Symbol, Reduction] = {
            s: Reduction(f"sum{i}", REDUCTIONS[s.op].over, s.name, kind=REDUCTIONS[s.op].kind)
            for i, s in enumerate(sums)
        }
        self.guarded = guarded
        if guarded:  # what is counted is 1, and its square too
            bad = apply("where", apply("isfinite", buffer("grad")), 0.0, 1.0)
            self._reductions[unique(apply("sum_of_squares", bad))] = Reduction(_NONFINITE_COUNT, guard=True)
        passes = []
        for level in range(1, max((s.level for s in self._reductions), default=0) + 1):
            here = [s for s in self._reductions if s.level == level]
            here.sort(key=lambda s: self._reductions[s].kind == "top")  # so that backends find them side by side
            passes.append(Pass([s.args[0] for s in here], reductions=[self._reductions[s] for s in here]))
        self.passes = (*passes, Pass(list(written.values()), writes=list(written)))
        self._functions = [self._number_function(i) for i in range(len(self.passes))]
        self._quick = [not any(map(_may_be_complex, postorder(p.numbers, into=_outside_sums))) for p in self.passes]

    def __repr__(self) -> str:
        final = self.passes[-1]
        passes = f"{len(self.passes)} pass{'es' * (len(self.passes) > 1)} over memory"
        return f"<Program: {', '.join(final.writes)} from {', '.join([*final.reads, *self.hypers])}; {passes}>"

    def _repr_latex_(self) -> str:
        """The formula, as notebooks show it."""
        return f"$${formula_latex(self)}$$"

    @property
    def buffers(self) -> tuple[str, ...]:
        """The tensors per parameter: ``param``, ``grad`` and the states."""
        return ("param", "grad", *self.states)

    @property
    def sums(self) -> tuple[str, ...]:
        """The names of the whole-tensor sums that numbers are made of, in the order of the passes."""
        return tuple(r.name for p in self.passes for r in p.reductions if not r.guard)

    def traffic(self, itemsize: Mapping[str, int]) -> int:
        """Bytes that a step moves per element, over all passes, for the given bytes per element of each buffer."""
        moved = 0
        for p in self.passes:
            moved += sum(itemsize[name] for name in p.reads)
            moved += sum(itemsize[name] for name in p.writes)
        return moved

    def known(self, index: int) -> list[Reduction]:
        """What is known of whole tensors before pass ``index``, in the order in which ``numbers`` takes it."""
        made = [r for p in self.passes[:index] for r in p.reductions if not r.guard]
        return [NUMEL, *made] if self.uses_numel else made

    def number_source(self, index: int, calls: Collection[str] = (), constant: Callable[[float], str] = repr) -> str:
        """The Python text of the number stage of a pass, as it is run.

        Args:
            index: which pass.
            calls: operations that are written as calls, such as ``{"div", "pow"}``, instead of with their sign.
            constant: how a number of the formula is written.
        """
        return self._number_text(self.passes[index].numbers, self.known(index), calls, constant)

    def _number_text(
        self,
        numbers: Sequence[Symbol],
        sums: Sequence[Reduction],
        calls: Collection[str] = (),
        constant: Callable[[float], str] = repr,
    ) -> str:
        known = [r.name for r in sums]
        arguments = ["step", *map(code_name, self.hypers), *map(code_name, self.kept), *known]
        leaves = {s: code_name(s.name) for s in postorder(numbers) if s.op in ("number", "kept")}
        leaves |= {s: r.name for s, r in self._reductions.items() if r.name in known}
        leaves |= {s: NUMEL.name for s in postorder(numbers) if s.op == "numel"}
        body = Statements(numbers, leaves, calls=calls, constant=constant)
        lines = [f"def numbers({', '.join(arguments)}):", *(f"    {line}" for line in body.lines)]
        return "\n".join([*lines, f"    return ({''.join(r + ', ' for r in body.results)})"])

    def _number_function(self, index: int, calls: Collection[str] = ()) -> Callable[..., tuple[Any, ...]]:
        return _compiled(self.number_source(index, calls))

    def new_kept(self, step: Any, hypers: Sequence[Any], sums: Sequence[Any], kept: Sequence[Any]) -> tuple[Any, ...]:
        """What the kept numbers are after the step, in the order of ``self.kept``; arguments as of ``numbers``."""
        values = map(_double, (step, *hypers, *kept, *sums))
        with np.errstate(all="ignore"):
            return self._new_kept_function(*values)

    @cached_property
    def _new_kept_function(self) -> Callable[..., tuple[Any, ...]]:
        return _compiled(self._number_text(self._new_kept, self.known(len(self.passes) - 1), {"div", "pow"}))

    @cached_property
    def _total_functions(self) -> list[Callable[..., tuple[Any, ...]]]:
        """The number stages as text in which no operation raises; each has IEEE arithmetic's value."""
        return [self._number_function(i, {"div", "pow"}) for i in range(len(self.passes))]

    def numbers(
        self, index: int, step: Any, hypers: Sequence[Any], sums: Sequence[Any] = (), kept: Sequence[Any] = ()
    ) -> tuple[Any, ...]:
        """The numbers that pass ``index`` reads, in double precision.

        Nothing raises: a division by zero and a power too large are infinite, the root of a negative number is NaN.
        Values are Python numbers, NumPy arrays with one per tensor, or float64 tensors, which are never read here.

        Args:
            index: which pass.
            step: the number of this step, from 1.
            hypers: values of ``self.hypers``, in that order.
            sums: values of what is :meth:`known`: ``numel`` if it is used, and the sums of the passes before.
            kept: the kept numbers before the step, in the order of ``self.kept``.
        """
        values = [v if type(v) is float else _double(v) for v in (step, *hypers, *kept, *sums)]
        if self._quick[index] and all(type(v) is float for v in values):
            try:
                return self._functions[index](*values)
            except (ZeroDivisionError, OverflowError):
                pass  # Python raises where IEEE arithmetic has a value
        with np.errstate(all="ignore"):
            return self._total_functions[index](*values)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what the program computes: the same for the same formula, however its functions are called."""
        final = self.passes[-1]
        index: dict[int, int] = {}
        text = [repr(sorted(self.states.items())), *final.writes, *map(repr, self.kept.items())]
        results = [*final.results, *self._new_kept]
        for symbol in postorder(results):
            index[id(symbol)] = len(index)
            args = [index[id(a)] for a in symbol.args]
            text.append(f"{index[id(symbol)]} {symbol.op} {args} {symbol.name} {symbol.value!r}")
        text += [str(index[id(symbol)]) for symbol in results]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def _compiled(source: str) -> Callable[..., tuple[Any, ...]]:
    """The function of the text of a number stage."""
    scope = {**vars(functions), "where": functions.where_number}
    exec(compile(source, "<numbers>", "exec"), scope)
    function: Callable[..., tuple[Any, ...]] = scope["numbers"]
    return function


def _double(value: Any) -> Any:
    """A Python or NumPy number as a float, whose arithmetic is that of doubles; an array or a tensor as it is."""
    return float(value) if isinstance(value, int | np.generic) else value


def _outside_sums(symbol: Symbol) -> bool:
    return symbol.op not in REDUCTIONS


def _may_be_complex(symbol: Symbol) -> bool:
    """Whether Python could return a complex number here: for a negative number to a power that is not whole."""
    if symbol.op != "pow":
        return False
    exponent = symbol.args[1]
    whole = exponent.op == "constant" and exponent.value.is_integer()
    return not whole and not (exponent.op == "number" and exponent.name == "step")


class _Unique:
    """Makes equal expressions the same object, so that each is computed once.

    With ``reciprocals``, dividing a tensor by a number becomes multiplying it by the number's reciprocal: a division
    per element costs as much as all the rest of most formulas, and one outside the loop nothing.
    """

    def __init__(self, reciprocals: bool = False) -> None:
        self._reciprocals = reciprocals
        self._nodes: dict[tuple[Any, ...], Symbol] = {}
        self._done: dict[int, Symbol] = {}
        self._kept: list[Symbol] = []  # ids in _done stay valid as long as their symbols live

    def __call__(self, symbol: Symbol) -> Symbol:
        for part in postorder([symbol], into=lambda s: id(s) not in self._done):
            if id(part) not in self._done:
                self._done[id(part)] = self._make(part)
                self._kept.append(part)
        return self._done[id(symbol)]

    def _make(self, symbol: Symbol) -> Symbol:
        """The one object that stands for a symbol; those of its arguments are known."""
        if self._reciprocals and symbol.op == "div" and symbol.args[0].element and not symbol.args[1].element:
            return self(apply("mul", symbol.args[0], apply("div", 1.0, symbol.args[1])))
        args = tuple(self._done[id(a)] for a in symbol.args)
        key = (symbol.op, symbol.name, repr(symbol.value), *map(id, args))
        return self._nodes.setdefault(key, Symbol(symbol.op, args, symbol.name, symbol.value))


class _Set:
    """Membership by identity: ``==`` of symbols makes a symbol."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self._ids = {id(s) for s in symbols}

    def __contains__(self, symbol: Symbol) -> bool:
        return id(symbol) in self._ids
