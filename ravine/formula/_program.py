"""The program: what a list of pieces becomes when it is traced, and the only thing that backends know.

A program is a graph of elementwise operations cut into *passes* over memory. A formula without ``norm`` has one
pass. Each level of ``norm`` adds one before it that reads and sums but writes nothing, and each level of functions of whole
tensors one that computes what they are given. A pass has two stages: numbers, computed once in double precision, and
elements, computed for every element of a tensor.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ravine.formula import _functions as functions
from ravine.formula._latex import formula_latex
from ravine.formula._operations import ALONG, FULL, REDUCTIONS, ROUNDINGS
from ravine.formula._passes import SIZES, Argument, Call, Pass, Reduction
from ravine.formula._pieces import Reduced, Scalar, TensorState
from ravine.formula._python import Statements, code_name
from ravine.formula._rounding import KEY
from ravine.formula._symbols import Assignment, Symbol, apply, buffer, postorder
from ravine.formula._tensor_functions import CallOf

#: The name of the sum that counts the elements of a gradient that are not finite.
_NONFINITE_COUNT = "nonfinite"
_FLOATS = frozenset({float})  # one call of C for all values: in every step of a small model a generator would show


class Program:
    """A traced formula. Made by ``ravine.formula.trace_formula``.

    Attributes:
        states: initial value (a number, ``param_copy`` or ``reduced``) of each state, by name, in the order of the formula.
        kept: the same of each state that is one number.
        tensors: the same of each state with a shape of its own.
        temporaries: what one pass writes, or a function of whole tensors gives, for later passes of the step.
        hypers: the hyperparameters it uses, by name; one element of a tuple is ``"betas[0]"``.
        uses_step: True if it depends on the number of the step.
        sizes: which of ``numel``, ``rows``, ``columns`` and ``resolution`` of a tensor it depends on.
        along: True if it has values of rows or columns.
        assignments: the formula line by line, for those who print it.
        passes: the passes over memory, in order; the last one writes.
        guarded: whether the first pass also counts the elements of the gradient that are not finite.
        of_bfloat16: the same formula for bfloat16 parameters, where those are kept otherwise (``_rounding.Narrow``).
    """

    of_bfloat16: Program | None = None

    def __init__(
        self,
        new: Mapping[str, Symbol],
        states: Mapping[str, Any],
        assignments: Sequence[Assignment],
        guarded: bool = False,
        kept: Mapping[str, Scalar] | None = None,
        tensors: Mapping[str, TensorState] | None = None,
    ) -> None:
        shown, unique = Unique(), Unique(reciprocals=True)
        self.assignments = tuple(Assignment(a.piece, a.name, shown(a.value)) for a in assignments)
        self.states, self.kept, self.tensors = dict(states), dict(kept or {}), dict(tensors or {})
        given = {name: unique(value) for name, value in new.items()}
        self._new_kept = [given.pop(name) for name in self.kept]
        replaced = {name: given.pop(name) for name in self.tensors}
        written = {n: v for n, v in given.items() if not (v.op == "buffer" and v.name == n)}
        self._all_new = [*written.values(), *self._new_kept, *(v for v in replaced.values() if v.op == "result")]
        everything = list(postorder(self._all_new))
        leaves = [s.name for s in everything if s.op == "number"]
        self.hypers = tuple(n for n in leaves if n != "step")
        self.uses_step = "step" in leaves
        used = {s.name for s in everything if s.op == "numel"}
        self.sizes = tuple(name for name in SIZES if name in used)
        reduced = any(isinstance(initial, Reduced) for initial in self.states.values())
        self.along = reduced or any(s.op in ALONG for s in everything)
        sums = [s for s in everything if s.op in REDUCTIONS]
        self._reductions: dict[Symbol, Reduction] = {
            s: Reduction(f"sum{i}", REDUCTIONS[s.op].over, s.name, kind=REDUCTIONS[s.op].kind)
            for i, s in enumerate(sums)
        }
        self.guarded = guarded
        if guarded:  # what is counted is 1, and its square too
            bad = apply("where", apply("isfinite", buffer("grad")), 0.0, 1.0)
            self._reductions[unique(apply("sum_of_squares", bad))] = Reduction(_NONFINITE_COUNT, guard=True)
        called = [s for s in everything if s.op == "call"]
        names, given_to, self.temporaries = _temporaries(everything, called, written)
        passes = []
        for level in range(1, max((s.level for s in (*self._reductions, *called)), default=0) + 1):
            here = [s for s in self._reductions if s.level == level]
            here.sort(key=lambda s: self._reductions[s].kind == "amax")  # so that backends find them side by side
            calls = [s for s in called if s.level == level]
            made = {given_to[a]: a for s in calls for a in s.args if a in given_to}
            numbers = [a for s in calls for a in s.args if not (a.element or a.op in ("tensor", "constant"))]
            one = Pass(
                [*(s.args[0] for s in here), *made.values()],
                writes=list(made),
                reductions=[self._reductions[s] for s in here],
                names=names,
                given=numbers,
            )
            one.calls = tuple(_call(s, one, names, given_to, replaced) for s in calls)
            passes.append(one)
        self.passes = (*passes, Pass(list(written.values()), writes=list(written), names=names))
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
        """The tensors per parameter that passes read and write: ``param``, ``grad``, the states, and temporaries."""
        return ("param", "grad", *self.states, *self.temporaries)

    def axes(self, name: str) -> int:
        """Along which dimensions a buffer differs (``_operations.py``)."""
        initial = self.states.get(name)
        return initial.axes if isinstance(initial, Reduced) else FULL

    @property
    def sums(self) -> tuple[str, ...]:
        """The names of the whole-tensor sums that numbers are made of, in the order of the passes."""
        return tuple(r.name for p in self.passes for r in p.reductions if not r.guard)

    def traffic(self, itemsize: Mapping[str, int]) -> int:
        """Bytes that a step moves per element, over all passes, for the given bytes per element of each buffer."""
        moved = 0
        for p in self.passes:
            moved += sum(itemsize[name] for name in (*p.reads, *p.writes) if self.axes(name) == FULL)
        return moved

    def known(self, index: int) -> list[Reduction]:
        """What is known of whole tensors before pass ``index``, in the order in which ``numbers`` takes it."""
        made = [r for p in self.passes[:index] for r in p.reductions if not r.guard]
        return [*(SIZES[name] for name in self.sizes), *made]

    def number_source(
        self, index: int, calls: Collection[str] = (), constant: Callable[[float], str] = repr, kept: bool = False
    ) -> str:
        """The Python text of the number stage of a pass, as it is run.

        Args:
            index: which pass.
            calls: operations that are written as calls, such as ``{"div", "pow"}``, instead of with their sign.
            constant: how a number of the formula is written.
            kept: whether it also gives what ``new_kept`` does, after the numbers.
        """
        numbers = [*self.passes[index].numbers, *(self._new_kept if kept else ())]
        return self._number_text(numbers, self.known(index), calls, constant)

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
        leaves |= {s: s.name for s in postorder(numbers) if s.op == "numel"}
        body = Statements(numbers, leaves, calls=calls, constant=constant)
        lines = [f"def numbers({', '.join(arguments)}):", *(f"    {line}" for line in body.lines)]
        return "\n".join([*lines, f"    return ({''.join(r + ', ' for r in body.results)})"])

    def _number_function(self, index: int, calls: Collection[str] = ()) -> Callable[..., tuple[Any, ...]]:
        return _compiled(self.number_source(index, calls))

    @property
    def new_kept_symbols(self) -> Sequence[Symbol]:
        """The values of the kept numbers after a step, in the order of ``self.kept``."""
        return self._new_kept

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
        values: Sequence[Any] = (float(step) if type(step) is int else step, *hypers, *kept, *sums)
        if not _FLOATS.issuperset(map(type, values)):
            values = [_double(v) for v in values]
        if self._quick[index] and _FLOATS.issuperset(map(type, values)):
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
        # An average of squares is computed as any state that starts with that number.
        starts = {name: float(one) if isinstance(one, float) else one for name, one in self.states.items()}
        text = [
            repr(sorted(starts.items())),
            *final.writes,
            *(repr(one) for one in self.kept.items() if one[0] != KEY),
            *map(repr, self.tensors.items()),
        ]
        # However states are rounded, it is the same formula.
        results = [s.args[0] if s.op in ROUNDINGS else s for s in self._all_new if s.name != KEY]
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


def _differs_less(a: Symbol, b: Symbol) -> bool:
    """Whether a is the same along a dimension along which b differs, and differs along none along which b is the same."""
    return a.axes != b.axes and a.axes | b.axes == b.axes


def _temporaries(
    everything: Sequence[Symbol], called: Sequence[Symbol], written: Mapping[str, Symbol]
) -> tuple[dict[Symbol, str], dict[Symbol, str], tuple[str, ...]]:
    """The tensors that live for one step: names of what calls give to passes, and of what passes make for calls; all names."""
    read = [a for s in everything if s.op not in ("call", "result") for a in s.args]
    read += [*written.values(), *(a for s in called for a in s.args)]
    names = {s: f"result.{i}" for i, s in enumerate(dict.fromkeys(s for s in read if s.op == "result"))}
    made = dict.fromkeys(a for s in called for a in s.args if a.element and a.op not in ("buffer", "result"))
    given_to = {a: f"argument.{i}" for i, a in enumerate(made)}
    return names, given_to, (*names.values(), *given_to.values())


def _call(
    symbol: Symbol,
    one: Pass,
    names: Mapping[Symbol, str],
    given_to: Mapping[Symbol, str],
    replaced: Mapping[str, Symbol],
) -> Call:
    """What torch runs for the symbol of a call, after its pass."""

    def argument(a: Symbol) -> Argument:
        if a.op == "constant":
            return Argument(constant=a.value)
        if a.element or a.op == "tensor":
            return Argument(given_to.get(a) or names.get(a) or a.name)
        return Argument(number=next(i for i, n in enumerate(one.numbers) if n is a))

    of: CallOf = symbol.value
    results: dict[int, str] = {s.value: name for s, name in names.items() if s.args[0] is symbol}
    states = defaultdict(str, {v.value: n for n, v in replaced.items() if v.op == "result" and v.args[0] is symbol})
    places = range(of.returns)
    return Call(
        of,
        tuple(map(argument, symbol.args)),
        tuple(results.get(i, "") for i in places),
        tuple(states[i] for i in places),
    )


class Unique:
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
        if self._reciprocals and symbol.op == "div" and symbol.args[0].element and _differs_less(*symbol.args[::-1]):
            return self(apply("mul", symbol.args[0], apply("div", 1.0, symbol.args[1])))
        args = tuple(self._done[id(a)] for a in symbol.args)
        value = symbol.value if symbol.op in ("call", "result") else repr(symbol.value)
        key = (symbol.op, symbol.name, value, symbol.axes, *map(id, args))
        return self._nodes.setdefault(key, Symbol(symbol.op, args, symbol.name, symbol.value, symbol.axes))
