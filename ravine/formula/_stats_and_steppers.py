"""Pieces from functions of fastai's kind: stats, which return a dict of what they keep, and steppers, which write ``p.data``.

Each is called with stand-ins for tensors (``_stand_in.py``), once to see what it keeps and changes; then it is a piece.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ravine.errors import FormulaError, an, kind_of
from ravine.formula._branches import Made, all_ways, chosen, same
from ravine.formula._fastai_text import (
    PieceText,
    arguments_of,
    call_of,
    code_of,
    defaults_of,
    imported_by,
    line_of,
    named_arguments,
    refuse_state,
    title_of,
    written_out,
)
from ravine.formula._own_math import with_own_math
from ravine.formula._pieces import ParamCopy, Piece, is_plain_number
from ravine.formula._program import Unique
from ravine.formula._stand_in import StandIn, plain
from ravine.formula._symbols import buffer, lift, number, postorder

_COUNTED = "step"  # what the formula counts by itself
_OWN = ("param", "grad")


def stats_and_steppers(*functions: Callable[..., Any], **switches: Any) -> list[Piece]:
    """The pieces of stats and steppers as fastai's book writes them.

    A stat is ``def average_grad(p, mom, grad_avg=None, **kwargs)`` and returns a dict of the states that it keeps; a
    stepper is ``def momentum_step(p, lr, grad_avg, **kwargs)`` and changes ``p.data`` or ``p.grad.data`` in place. What
    they read beside these are hyperparameters. Where one decides by a number, ``if wd != 0:`` or ``min(lr, local_lr)``, the
    piece has both ways, and ``where``. A stat that only counts ``step`` is left out: that is counted anyway.

    Args:
        functions: in the order in which they are called; ``functools.partial`` of such functions, too.
        switches: arguments that decide in Python what a function does, such as ``dampening=True``.

    Raises:
        FormulaError: one cannot be read as a formula; the text has the piece to write in its place.

    Example::

        opt_func = partial(Optimizer, pieces=stats_and_steppers(average_sqr_grad, rms_prop_step), sqr_mom=0.99, eps=1e-7)
    """
    earlier: set[str] = set()
    pieces: list[Piece] = []
    if len(functions) == 1 and isinstance(functions[0], list | tuple):
        names = ", ".join(call_of(one) for one in functions[0])
        raise FormulaError(
            f"stats_and_steppers takes functions, not {an(kind_of(functions[0]))}: stats_and_steppers({names})"
        )
    for function in functions:
        arguments_of(function, "a stat or stepper")
        try:
            read = _read(function, earlier, switches)
        except Exception as error:
            piece = written_out(function, earlier)
            raise FormulaError(
                f"{title_of(function)} is a fastai stepper that cannot be read as a formula:{line_of(error, function)} "
                f"{_reason(error)}. This is a piece, write it so:\n\n{imported_by(piece)}{piece}\n"
            ) from error
        earlier |= read.left
        if read.changes:
            pieces.append(Piece(read))
    return pieces


def _reason(error: Exception) -> str:
    """What an error says of the function, without the names of what it is read with."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        return f"it reads {text}, which is not among its arguments: give it an argument of that name"
    if isinstance(error, FormulaError) or StandIn.__name__ not in text:
        return text
    return "it needs the values of a tensor or number, and while a formula is read there are none"


@dataclass(frozen=True)
class StatOrStepper:
    """One such function, as the function of a piece.

    Attributes:
        function: the function.
        own: which of ``param`` and ``grad`` it changes.
        states: what it keeps, and what each starts as.
        reads: what it only reads, by name, with the default of a hyperparameter where it has one.
        switches: what it is given besides.
        begun: what it keeps that is None at its first step, and is not made from a start as later.
        counts: whether it counts the steps.
    """

    function: Callable[..., Any]
    own: tuple[str, ...]
    states: tuple[tuple[str, float | ParamCopy], ...]
    reads: tuple[tuple[str, Any], ...]
    switches: tuple[tuple[str, Any], ...]
    begun: tuple[str, ...]
    counts: bool

    @property
    def left(self) -> set[str]:
        """The names that later ones find changed."""
        return {*self.changes, *((_COUNTED,) if self.counts else ())}

    @property
    def changes(self) -> tuple[str, ...]:
        """What it changes, in order."""
        return (*self.own, *(state for state, _ in self.states))

    @property
    def __name__(self) -> str:
        return title_of(self.function)

    @property
    def __code__(self) -> Any:
        return code_of(self.function)

    @property
    def __signature__(self) -> inspect.Signature:
        parameter = inspect.Parameter
        changes = [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in self.own]
        changes += [parameter(name, parameter.POSITIONAL_OR_KEYWORD, default=start) for name, start in self.states]
        reads = [parameter(name, parameter.KEYWORD_ONLY, default=default) for name, default in self.reads]
        return inspect.Signature([*changes, *reads])

    def __call__(self, *changed: Any, **read: Any) -> Any:
        values = {**dict(zip(self.changes, changed, strict=True)), **read}
        results = _stepped(self.function, values, dict(self.switches), self.begun)
        new = [results[name] for name in self.changes]
        return new[0] if len(new) == 1 else tuple(new)


def answer_to(functions: Sequence[Callable[..., Any]]) -> str:
    """What to write where stats and steppers themselves are given as pieces: the call, and the pieces in full."""
    names, texts, earlier = ", ".join(map(call_of, functions)), [], set[str]()
    for function in functions:
        try:
            read = _read(function, earlier, {})
        except Exception:  # what could not be read is written out as far as its arguments say
            texts.append(written_out(function, earlier))
            continue
        texts += [_text(read, earlier)] if read.changes else []
        earlier |= read.left
    pieces = "\n\n".join(texts)
    return (
        f"ravine.formula.stats_and_steppers({names}) makes pieces of them. As pieces, write it so:\n\n"
        f"{imported_by(pieces)}{pieces}\n"
    )


def _text(read: StatOrStepper, earlier: Set[str]) -> str:
    """The piece as Python; ``earlier`` are the names that earlier ones keep."""
    reads = dict(read.reads)
    tensors = [
        name for name in (*read.changes, *reads) if name in read.changes or name in _OWN or name in earlier - {_COUNTED}
    ]
    leaves = {name: buffer(name) for name in tensors}
    leaves |= {name: number(name) for name in reads if name not in leaves}
    changed = [leaves[name] for name in read.changes]
    results = read(*changed, **{name: leaves[name] for name in reads})
    results = results if isinstance(results, tuple) else (results,)
    once = Unique()
    known = {once(symbol): name for name, symbol in leaves.items()}
    code = PieceText([once(lift(result)) for result in results], known)
    starts = dict(read.states)
    before = [f"{name}={starts[name]!r}" if name in starts else name for name in read.changes]
    after = [name if default is inspect.Parameter.empty else f"{name}={default!r}" for name, default in read.reads]
    lines = [*code.lines, f"return {', '.join(code.results)}"]
    return "\n    ".join([f"def {read.__name__}({', '.join([*before, *(['*'] if after else []), *after])}):", *lines])


def _stepped(
    function: Callable[..., Any], values: Mapping[str, Any], switches: Mapping[str, Any], begun: Sequence[str]
) -> Mapping[str, Any]:
    """What one step gives, by name: at the first what it gives where ``begun`` are None."""
    if not begun:
        return _called(function, values, switches, [])
    first_step = values[_COUNTED] == 1
    if _COUNTED not in (a.name for a in named_arguments(function)):
        values = {name: value for name, value in values.items() if name != _COUNTED}
    later = _called(function, values, switches, [])
    others = {name: value for name, value in values.items() if name not in begun}
    first = _called(function, others, {**switches, **dict.fromkeys(begun)}, [])
    return {name: chosen(first_step, first[name], value) for name, value in later.items()}


def _called(
    function: Callable[..., Any], values: Mapping[str, Any], switches: Mapping[str, Any], made: list[Any]
) -> Mapping[str, Any]:
    """Call it; the parameter and the gradient afterwards, and the states it returned, by name."""
    param, grad = (values.get(name, buffer(name)) for name in _OWN)

    def one_way(made: Made) -> Mapping[str, Any]:
        given = StandIn(param, made, StandIn(grad, made))
        arguments = {
            name: value if value is None else StandIn(value, made) for name, value in values.items() if name not in _OWN
        }
        result = function(given, **{**arguments, **switches})
        states = {name: plain(state) for name, state in result.items()} if isinstance(result, Mapping) else {}
        for name, state in states.items():
            refuse_state(name, state)
        return {**states, "param": given.value, "grad": plain(given.grad)}

    function = with_own_math(function)
    return all_ways(one_way, made)


def _read(function: Callable[..., Any], earlier: Set[str], switches: Mapping[str, Any]) -> StatOrStepper:
    """Find out what it keeps, changes and reads; ``earlier`` are the names that earlier ones change or count."""
    arguments, defaults = named_arguments(function), defaults_of(function)
    kept = earlier - set(_OWN)
    given = {a.name: switches[a.name] for a in arguments if a.name in switches}
    values: dict[str, Any] = {"param": buffer("param"), "grad": buffer("grad")}
    absent: list[str] = []
    for a in arguments:
        default = defaults.get(a.name)
        if a.name in given:
            continue
        if a.name in kept or (a.name == _COUNTED and a.name not in defaults):
            values[a.name] = number(_COUNTED) if a.name == _COUNTED else buffer(a.name)
        elif a.name in defaults and not is_plain_number(default):
            given[a.name] = default
            absent += [a.name] if default is None else []
        elif a.name == _COUNTED:
            given[a.name] = 0
        else:
            values[a.name] = number(a.name)

    made: list[Any] = []
    first = _called(function, values, given, made)
    counts = _COUNTED in first
    if counts and not same(lift(first[_COUNTED]), lift(1)):
        raise FormulaError("it counts step otherwise than by 1; a formula counts it by itself")
    names = [name for name in first if name not in (_COUNTED, *_OWN)]
    if again := next((name for name in names if name in kept), None):
        raise FormulaError(f"it keeps {again!r}, as one before it does")
    none = [name for name in names if name in absent]
    given = {name: value for name, value in given.items() if name not in none}
    values |= {name: buffer(name) for name in names if name in values or name in none}
    starts = {name: float(defaults[name]) if is_plain_number(defaults.get(name)) else 0.0 for name in names}
    # A copy is of the parameter as it is before the step, and an earlier one may have changed it.
    candidates = [start for start in dict.fromkeys(made) if not (isinstance(start, ParamCopy) and "param" in earlier)]
    absent_starts = _starts(function, none, values, given, candidates, first)
    begun = () if absent_starts is not None else tuple(none)
    states = [(name, {**starts, **(absent_starts or {})}[name]) for name in names]
    if begun:
        values.setdefault(_COUNTED, number(_COUNTED))
    returned = _stepped(function, values, given, begun)
    own = tuple(name for name in _OWN if returned[name] is not values[name])
    if not (own or names or counts):
        if not any(isinstance(value, bool) for value in given.values()):
            raise FormulaError("it changes nothing: neither p.data nor what it returns as a dict")
        own = ("param",)  # it is switched off, and its numbers may be given all the same
    used = {symbol.name for symbol in postorder([lift(returned[name]) for name in (*own, *names)])}
    reads: list[tuple[str, Any]] = [
        (name, inspect.Parameter.empty) for name in _OWN if name not in own and name in used
    ]
    for name in (a.name for a in arguments if a.name in values and a.name not in names):
        is_hyper = name not in kept and name != _COUNTED
        default = defaults.get(name, inspect.Parameter.empty)
        reads.append((name, default if is_hyper and is_plain_number(default) else inspect.Parameter.empty))
    if begun and _COUNTED not in dict(reads):
        reads.append((_COUNTED, inspect.Parameter.empty))
    return StatOrStepper(function, own, tuple(states), tuple(reads), tuple(given.items()), begun, counts)


def _starts(
    function: Callable[..., Any],
    names: Sequence[str],
    values: Mapping[str, Any],
    given: Mapping[str, Any],
    candidates: Sequence[Any],
    first: Mapping[str, Any],
) -> dict[str, float | ParamCopy] | None:
    """What states start as that are None at first: of what the function makes, that from which the first step is ``first``.

    None if it is another function at the first step.
    """
    for starts in itertools.product(candidates, repeat=len(names)):
        begun = [buffer("param") if isinstance(start, ParamCopy) else float(start) for start in starts]
        returned = _called(function, {**values, **dict(zip(names, begun, strict=True))}, given, [])
        if first.keys() == returned.keys() and all(same(lift(returned[name]), lift(first[name])) for name in first):
            return dict(zip(names, starts, strict=True))
    return None
