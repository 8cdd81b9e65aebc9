"""Pieces from functions of fastai's kind: stats, which return a dict of what they keep, and steppers, which write ``p.data``.

Each is called with stand-ins for tensors (``_stand_in.py``), once to see what it keeps and changes; then it is a piece.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ravine.errors import FormulaError, kind_of
from ravine.formula._branches import Made, all_ways, same
from ravine.formula._fastai_text import named_arguments, title_of, written_out
from ravine.formula._pieces import ParamCopy, Piece
from ravine.formula._python import Statements
from ravine.formula._stand_in import StandIn, plain
from ravine.formula._symbols import Symbol, buffer, lift, number, postorder

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
    kept: set[str] = set()
    pieces: list[Piece] = []
    if len(functions) == 1 and isinstance(functions[0], list | tuple):
        names = ", ".join(title_of(one) for one in functions[0])
        raise FormulaError(
            f"stats_and_steppers takes functions, not a {kind_of(functions[0])}: stats_and_steppers({names})"
        )
    for function in functions:
        try:
            read = _read(function, kept, switches)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FormulaError(
                f"{title_of(function)} is a fastai stepper that cannot be read as a formula: {reason}. This is a piece, write "
                f"it so:\n\n{written_out(function, kept)}\n"
            ) from error
        kept |= {state for state, _ in read.states} | ({_COUNTED} if read.counts else set())
        if read.changes:
            pieces.append(Piece(read))
    return pieces


@dataclass(frozen=True)
class StatOrStepper:
    """One such function, as the function of a piece.

    Attributes:
        function: the function.
        own: which of ``param`` and ``grad`` it changes.
        states: what it keeps, and what each starts as.
        reads: what it only reads, by name, with the default of a hyperparameter where it has one.
        switches: what it is given besides.
        counts: whether it counts the steps.
    """

    function: Callable[..., Any]
    own: tuple[str, ...]
    states: tuple[tuple[str, float | ParamCopy], ...]
    reads: tuple[tuple[str, Any], ...]
    switches: tuple[tuple[str, Any], ...]
    counts: bool

    @property
    def changes(self) -> tuple[str, ...]:
        """What it changes, in order."""
        return (*self.own, *(state for state, _ in self.states))

    @property
    def __name__(self) -> str:
        return title_of(self.function)

    @property
    def __code__(self) -> Any:
        return getattr(self.function, "func", self.function).__code__

    @property
    def __signature__(self) -> inspect.Signature:
        parameter = inspect.Parameter
        changes = [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in self.own]
        changes += [parameter(name, parameter.POSITIONAL_OR_KEYWORD, default=start) for name, start in self.states]
        reads = [parameter(name, parameter.KEYWORD_ONLY, default=default) for name, default in self.reads]
        return inspect.Signature([*changes, *reads])

    def __call__(self, *changed: Any, **read: Any) -> Any:
        values = {**dict(zip(self.changes, changed, strict=True)), **read}
        results = _called(self.function, values, dict(self.switches), [])
        new = [results[name] for name in self.changes]
        return new[0] if len(new) == 1 else tuple(new)


def answer_to(functions: Sequence[Callable[..., Any]]) -> str:
    """What to write where stats and steppers themselves are given as pieces: the call, and the pieces in full."""
    names, texts, kept = ", ".join(map(title_of, functions)), [], set[str]()
    for function in functions:
        try:
            read = _read(function, kept, {})
        except Exception:  # what could not be read is written out as far as its arguments say
            texts.append(written_out(function, kept))
            continue
        texts += [_text(read)] if read.changes else []
        kept |= {state for state, _ in read.states} | ({_COUNTED} if read.counts else set())
    pieces = "\n\n".join(texts)
    return f"ravine.formula.stats_and_steppers({names}) makes pieces of them. As pieces, write it so:\n\n{pieces}\n"


def _text(read: StatOrStepper) -> str:
    """The piece as Python."""
    leaves = {name: buffer(name) for name in (*read.changes, *_OWN)}
    leaves |= {name: leaves.get(name, number(name)) for name, _ in read.reads}
    changed = [leaves[name] for name in read.changes]
    results = read(*changed, **{name: leaves[name] for name, _ in read.reads})
    results = results if isinstance(results, tuple) else (results,)
    code = Statements([lift(result) for result in results], {symbol: name for name, symbol in leaves.items()})
    starts = dict(read.states)
    before = [f"{name}={starts[name]!r}" if name in starts else name for name in read.changes]
    after = [name if default is inspect.Parameter.empty else f"{name}={default!r}" for name, default in read.reads]
    lines = [*code.lines, f"return {', '.join(code.results)}"]
    return "\n    ".join([f"def {read.__name__}({', '.join([*before, '*', *after])}):", *lines])


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
        return {**states, "param": given.value, "grad": plain(given.grad)}

    return all_ways(one_way, made)


def _read(function: Callable[..., Any], kept: set[str], switches: Mapping[str, Any]) -> StatOrStepper:
    """Find out what it keeps, changes and reads."""
    arguments = named_arguments(function)
    defaults = {a.name: a.default for a in arguments if a.default is not inspect.Parameter.empty}
    defaults |= getattr(getattr(function, "func", function), "defaults", {})
    given = {a.name: switches[a.name] for a in arguments if a.name in switches}
    values: dict[str, Any] = {"param": buffer("param"), "grad": buffer("grad")}
    absent: list[str] = []
    for a in arguments:
        default = defaults.get(a.name)
        if a.name in given:
            continue
        if a.name in kept or (a.name == _COUNTED and a.name not in defaults):
            values[a.name] = number(_COUNTED) if a.name == _COUNTED else buffer(a.name)
        elif a.name in defaults and not _is_number(default):
            given[a.name] = default
            absent += [a.name] if default is None else []
        elif a.name == _COUNTED:
            given[a.name] = 0
        else:
            values[a.name] = number(a.name)

    made: list[Any] = []
    returned = _called(function, values, given, made)
    counts = _COUNTED in returned
    if counts and not same(lift(returned[_COUNTED]), lift(1)):
        raise FormulaError("it counts step otherwise than by 1; a formula counts it by itself")
    states: list[tuple[str, float | ParamCopy]] = []
    for name in (n for n in returned if n not in (_COUNTED, *_OWN)):
        if name in kept:
            raise FormulaError(f"it keeps {name!r}, as one before it does")
        if name in absent:
            del given[name]
            first = lift(returned[name])
            states.append((name, _start(function, name, values, given, made, first)))
            values[name] = buffer(name)
        else:
            states.append((name, float(defaults[name]) if _is_number(defaults.get(name)) else 0.0))
            if name in values:
                values[name] = buffer(name)
    if states:
        returned = _called(function, values, given, [])
    own = tuple(name for name in _OWN if returned[name] is not values[name])
    if not (own or states or counts):
        raise FormulaError("it changes nothing: neither p.data nor what it returns as a dict")
    keeps = {name for name, _ in states}
    results = [lift(returned[name]) for name in (*own, *keeps)]
    used = {symbol.name for symbol in postorder(results)}
    reads = [(name, inspect.Parameter.empty) for name in _OWN if name not in own and name in used]
    for name in (a.name for a in arguments if a.name in values and a.name not in keeps):
        is_hyper = name not in kept and name != _COUNTED
        default = defaults.get(name, inspect.Parameter.empty)
        reads.append((name, default if is_hyper and _is_number(default) else inspect.Parameter.empty))
    frozen = tuple(given.items())
    return StatOrStepper(function, own, tuple(states), tuple(reads), frozen, counts)


def _start(
    function: Callable[..., Any],
    name: str,
    values: Mapping[str, Any],
    given: Mapping[str, Any],
    made: Sequence[Any],
    first: Symbol,
) -> float | ParamCopy:
    """What a state starts as that is None at first: of what the function made, that from which it becomes ``first``."""
    for start in dict.fromkeys(made):
        begun = buffer("param") if isinstance(start, ParamCopy) else float(start)
        returned = _called(function, {**values, name: begun}, given, [])
        if same(lift(returned[name]), first):
            return start
    raise FormulaError(f"{name} does not start as a number or as a copy of the parameter")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
