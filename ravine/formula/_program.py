"""The program: what a list of pieces becomes when it is traced, and the only thing that backends know.

A program is a graph of elementwise operations cut into *passes* over memory. A formula without ``norm`` has one
pass. Each level of ``norm`` adds one before it that reads and sums but writes nothing. A pass has two stages:
numbers, computed once in double precision, and elements, computed for every element of a tensor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ravine.formula import _functions as functions
from ravine.formula._printer import Statements, signature_name
from ravine.formula._symbols import REDUCTIONS, Symbol, apply, buffer

#: The name of the sum that counts the elements of a gradient that are not finite.
GUARD = "nonfinite"


@dataclass(frozen=True)
class Reduction:
    """A number that a pass makes of a whole tensor.

    Attributes:
        name: the number's name in the program.
        over: one tensor, or every tensor of the optimizer.
        join: for ``over="all"``, under which name the sums of different programs are added up.
        guard: whether it counts bad elements, for ``nonfinite=``; no formula reads it.
    """

    name: str
    over: Literal["tensor", "all"] = "tensor"
    join: str = ""
    guard: bool = False


@dataclass(frozen=True)
class Assignment:
    """One line of the formula: piece ``piece`` gave ``name`` the value ``value``."""

    piece: str
    name: str
    value: Symbol


class Pass:
    """One pass over memory.

    Attributes:
        results: what it computes per element: the new value of each written buffer, or the argument of each sum.
        writes: for the last pass, the buffer that each result is written to; empty for a pass that sums.
        reductions: for a pass that sums, what the squares of each result are summed for; empty for the last pass.
        reads: the buffers it reads.
        numbers: the numbers that its elements use, in the order in which ``Program.numbers`` gives them.
    """

    def __init__(
        self, results: Sequence[Symbol], *, writes: Sequence[str] = (), reductions: Sequence[Reduction] = ()
    ) -> None:
        self.results, self.writes, self.reductions = tuple(results), tuple(writes), tuple(reductions)
        elements, numbers = [], []
        for symbol in walk(results, into=lambda s: s.element):
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
        """A name in generated code for each of ``numbers``: a hyperparameter keeps its own."""
        return tuple(signature_name(s.name) if s.op == "number" else f"n{i}" for i, s in enumerate(self.numbers))

    def leaves(self) -> dict[Symbol, str]:
        """What the element stage starts from: the symbols of buffers and numbers, with their names in code."""
        named = dict(zip(self.numbers, self.number_names, strict=True))
        for symbol in walk(self.results, into=lambda s: s.element):
            if symbol.op == "buffer":
                named[symbol] = signature_name(symbol.name)
        return named


class Program:
    """A traced formula. Made by ``ravine.formula.trace``.

    Attributes:
        states: initial value (a number or ``param_copy``) of each state, by name, in the order of the formula.
        hypers: the hyperparameters it uses, by name; one element of a tuple is ``"betas[0]"``.
        uses_step: True if it depends on the number of the step.
        assignments: the formula line by line, for those who print it.
        passes: the passes over memory, in order; the last one writes.
        guarded: whether the first pass also counts the elements of the gradient that are not finite (``GUARD``).
    """

    def __init__(
        self,
        new: Mapping[str, Symbol],
        states: Mapping[str, Any],
        assignments: Sequence[Assignment],
        guarded: bool = False,
    ) -> None:
        shown, unique = _Unique(), _Unique(reciprocals=True)
        self.assignments = tuple(Assignment(a.piece, a.name, shown(a.value)) for a in assignments)
        self.states = dict(states)
        written = {name: unique(value) for name, value in new.items()}
        written = {n: v for n, v in written.items() if not (v.op == "buffer" and v.name == n)}
        everything = list(walk(written.values()))
        leaves = [s.name for s in everything if s.op == "number"]
        self.hypers = tuple(n for n in leaves if n != "step")
        self.uses_step = "step" in leaves
        sums = [s for s in everything if s.op in REDUCTIONS]
        self._reductions: dict[Symbol, Reduction] = {
            s: Reduction(f"sum{i}", "all" if s.op == "global_sum_of_squares" else "tensor", s.name)
            for i, s in enumerate(sums)
        }
        self.guarded = guarded
        if guarded:  # what is counted is 1, and its square too
            bad = apply("where", apply("isfinite", buffer("grad")), 0.0, 1.0)
            self._reductions[unique(apply("sum_of_squares", bad))] = Reduction(GUARD, guard=True)
        passes = []
        for level in range(1, max((s.level for s in self._reductions), default=0) + 1):
            here = [s for s in self._reductions if s.level == level]
            passes.append(Pass([s.args[0] for s in here], reductions=[self._reductions[s] for s in here]))
        self.passes = (*passes, Pass(list(written.values()), writes=list(written)))
        self._functions = [self._number_function(p) for p in self.passes]

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

    def number_source(self, index: int) -> str:
        """The Python text of the number stage of a pass, as it is run."""
        p = self.passes[index]
        known = [r.name for earlier in self.passes[:index] for r in earlier.reductions if not r.guard]
        arguments = ["step", *map(signature_name, self.hypers), *known]
        leaves = {s: signature_name(s.name) for s in walk(p.numbers) if s.op == "number"}
        leaves |= {s: r.name for s, r in self._reductions.items() if r.name in known}
        body = Statements(p.numbers, leaves, taken=arguments)
        lines = [f"def numbers({', '.join(arguments)}):", *(f"    {line}" for line in body.lines)]
        return "\n".join([*lines, f"    return ({''.join(r + ', ' for r in body.results)})"])

    def _number_function(self, p: Pass) -> Any:
        scope = dict(vars(functions))
        exec(compile(self.number_source(self.passes.index(p)), "<numbers>", "exec"), scope)
        return scope["numbers"]

    def numbers(self, index: int, step: Any, hypers: Sequence[Any], sums: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The numbers that pass ``index`` reads, in double precision.

        Args:
            index: which pass.
            step: the number of this step, from 1; an array for one per tensor.
            hypers: values of ``self.hypers``, in that order.
            sums: values of the sums of the passes before, numbers or arrays with one per tensor.
        """
        function = self._functions[index]
        result: tuple[Any, ...]
        if not isinstance(step, np.ndarray) and not any(isinstance(s, np.ndarray) for s in sums):
            try:
                result = function(step, *hypers, *sums)
                return result
            except (ZeroDivisionError, OverflowError):
                # Python raises where IEEE arithmetic has a value; NumPy's doubles give the value.
                step, hypers = np.float64(step), [np.float64(h) for h in hypers]
                sums = [np.float64(s) for s in sums]
        with np.errstate(all="ignore"):
            result = function(step, *hypers, *sums)
        return result

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what the program computes: the same for the same formula, however its functions are called."""
        final = self.passes[-1]
        index: dict[int, int] = {}
        text = [repr(sorted(self.states.items())), *final.writes]
        for symbol in walk(final.results):
            index[id(symbol)] = len(index)
            args = [index[id(a)] for a in symbol.args]
            text.append(f"{index[id(symbol)]} {symbol.op} {args} {symbol.name} {symbol.value!r}")
        text += [str(index[id(symbol)]) for symbol in final.results]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


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
        if id(symbol) not in self._done:
            self._done[id(symbol)] = self._make(symbol)
            self._kept.append(symbol)
        return self._done[id(symbol)]

    def _make(self, symbol: Symbol) -> Symbol:
        if self._reciprocals and symbol.op == "div" and symbol.args[0].element and not symbol.args[1].element:
            return self(apply("mul", symbol.args[0], apply("div", 1.0, symbol.args[1])))
        args = tuple(self(a) for a in symbol.args)
        key = (symbol.op, symbol.name, repr(symbol.value), *map(id, args))
        return self._nodes.setdefault(key, Symbol(symbol.op, args, symbol.name, symbol.value))


class _Set:
    """Membership by identity: ``==`` of symbols makes a symbol."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self._ids = {id(s) for s in symbols}

    def __contains__(self, symbol: Symbol) -> bool:
        return id(symbol) in self._ids


def walk(roots: Iterable[Symbol], into: Any = lambda s: True) -> Iterable[Symbol]:
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
