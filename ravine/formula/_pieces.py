"""Pieces: plain functions whose signature says what they change and what they read.

Before the star stand the tensors a piece changes, and it returns their new values in that order. After the
star stands what it only reads. This file reads that signature; what the names mean is for ``_tracing.py``.
"""

from __future__ import annotations

import inspect
import reprlib
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeGuard

from ravine.errors import FormulaError, an, nearest, shown
from ravine.formula._fastai_text import arguments_of, is_of_fastai, written_out
from ravine.formula._operations import COLUMNS, ROWS

RESERVED = ("param", "grad", "update", "step")
#: Names that could not be passed to an optimizer, and what to do instead.
_IMPOSSIBLE = {
    "self": "pass a bound method or a plain function",
    "params": "in a parameter group it stands for the parameters; give it another name",
}


@dataclass(frozen=True)
class ParamCopy:
    """The initial value of a state that starts as a copy of the parameter.

    Attributes:
        wide: of a 16-bit parameter the state is float32: what a slow average is moved by is less than a last digit.
        average: the state is an average of the parameter, which can be put in its place.
    """

    wide: bool = False
    average: bool = False

    def __repr__(self) -> str:
        return "param_copy"


#: Default of a state that starts as a copy of the parameter: ``def average(slow=param_copy, *, param, decay)``.
param_copy = ParamCopy()


def is_plain_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number of Python's that a double holds, and no truth value."""
    if isinstance(value, int) and abs(value) > 2**1023:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool)


class Squares(float):
    """The initial value of a state that is an average or sum of squares. Made by :func:`squares`."""

    def __repr__(self) -> str:
        return f"squares({float(self)!r})"


def squares(initial: float) -> Squares:
    """Default of a state that is an average or a sum of squares, and never negative: ``def rms(square_avg=squares(0.0), *, grad)``.

    Computed with it is what a plain number says. With ``state_dtype="8bit"`` its root is kept, by a code without a sign.

    Raises:
        FormulaError: ``initial`` is no number.
    """
    if not is_plain_number(initial):
        raise FormulaError(f"squares({shown(initial)}): a state starts as a number, such as squares(0.0)")
    return Squares(initial)


@dataclass(frozen=True)
class Scalar:
    """The initial value of a state that is one number. Made by :func:`scalar`."""

    initial: float
    per: Literal["tensor", "group"] = "tensor"

    def __repr__(self) -> str:
        return f"scalar({self.initial!r}{', per=' + repr(self.per) if self.per != 'tensor' else ''})"


def scalar(initial: float, per: Literal["tensor", "group"] = "tensor") -> Scalar:
    """Default of a state that is one number: ``def nadam(update, mu_product=scalar(1.0), *, beta1)``.

    It is computed in double precision, once a step. Its new value is made of numbers: hyperparameters, ``step``, ``norm(x)``
    and their kind, other kept numbers.

    Args:
        initial: what it is before the first step.
        per: ``"tensor"``: each parameter has its own, a float64 tensor of no dimensions in ``state[p]``; ``"group"``: a
            parameter group has one, among its options, and it is made of what is the same for all of the group.

    Raises:
        FormulaError: ``initial`` is no number, or ``per`` is another word.
    """
    if not is_plain_number(initial):
        raise FormulaError(f"scalar({shown(initial)}): a kept number starts as a number, such as scalar(1.0)")
    if per not in ("tensor", "group"):
        raise FormulaError(f"scalar({initial!r}, per={per!r}): it is 'tensor' (one for each parameter) or 'group'")
    return Scalar(float(initial), per)


@dataclass(frozen=True)
class Reduced:
    """The initial value of a state with one value for each row or column. Made by :func:`reduced`."""

    initial: float
    dim: Literal[-1, -2]

    def __repr__(self) -> str:
        return f"reduced({self.initial!r}, dim={self.dim})"

    @property
    def axes(self) -> int:
        """Along which dimensions it differs."""
        return ROWS if self.dim == -1 else COLUMNS

    def shape(self, of: Sequence[int]) -> tuple[int, ...]:
        """The state's shape, for that of the parameter."""
        return (*of[:-1], 1) if self.dim == -1 else (*of[:-2], 1, of[-1])


def reduced(initial: float, dim: Literal[-1, -2]) -> Reduced:
    """Default of a state with one value for each row or column: ``def factored(update, row_avg=reduced(0.0, dim=-1), ...)``.

    Args:
        initial: what it starts as.
        dim: the dimension that it does not have: -1, one value for each row, of shape ``(..., 1)``; -2, one for each
            column, of shape ``(..., 1, n)``: those of ``mean(x, dim=dim)``.

    Raises:
        FormulaError: ``initial`` is no number, or ``dim`` is another number.
    """
    if not is_plain_number(initial):
        raise FormulaError(
            f"reduced({shown(initial)}, dim={dim!r}): a state starts as a number, such as reduced(0.0, dim=-1)"
        )
    if dim not in (-1, -2) or isinstance(dim, bool):
        raise FormulaError(
            f"reduced({initial!r}, dim={dim!r}): dim is -1 (one value for each row) or -2 (for each column)"
        )
    return Reduced(float(initial), dim)


@dataclass(frozen=True)
class TensorState:
    """The initial value of a state with a shape of its own. Made by :func:`tensor_state`."""

    shape: Callable[[tuple[int, ...]], Sequence[int]]
    initial: float = 0.0

    def __repr__(self) -> str:
        return f"tensor_state({getattr(self.shape, '__qualname__', 'function')}, {self.initial!r})"


def tensor_state(shape: Callable[[tuple[int, ...]], Sequence[int]], initial: float = 0.0) -> TensorState:
    """Default of a state with a shape of its own, which only functions of whole tensors read and give.

    ``def shampoo(update, left=tensor_state(lambda shape: (shape[0], shape[0])), *, step)``. Its dtype is the parameter's, or
    float32 for a parameter of 16 bits.

    Args:
        shape: gives its shape from that of the parameter.
        initial: what all its elements start as.

    Raises:
        FormulaError: ``shape`` is no function, or ``initial`` is no number.
    """
    if not callable(shape):
        raise FormulaError(
            f"tensor_state({shape!r}): it takes a function of the parameter's shape, such as lambda shape: (shape[0], shape[0])"
        )
    if not is_plain_number(initial):
        raise FormulaError(f"tensor_state(..., initial={shown(initial)}): a state starts as a number")
    return TensorState(shape, float(initial))


#: What a state can start as.
Initial = float | ParamCopy | Scalar | Reduced | TensorState


@dataclass(frozen=True)
class PieceName:
    """One argument of a piece: its name in the function, its name in the formula, and its default if it has one."""

    argument: str
    name: str
    default: Any = inspect.Parameter.empty

    @property
    def has_default(self) -> bool:
        return self.default is not inspect.Parameter.empty


@dataclass(frozen=True, repr=False)
class Piece:
    """A function, and what ``rename`` and ``start`` changed of its signature. Pieces are equal if all of that is."""

    function: Callable[..., Any]
    renamed: tuple[tuple[str, str], ...] = ()
    started: tuple[tuple[str, Initial], ...] = ()

    def __repr__(self) -> str:
        changes = [f"{old} as {new}" for old, new in self.renamed]
        changes += [f"{state} starts as {value!r}" for state, value in self.started]
        return f"<Piece {', '.join([self.title, *changes])}>"

    @property
    def title(self) -> str:
        """The name of the function, for people."""
        return getattr(self.function, "__name__", repr(self.function))

    @property
    def place(self) -> str:
        """The function's name with its file and line, for errors."""
        code = getattr(self.function, "__code__", None)
        return f"{self.title} ({code.co_filename}:{code.co_firstlineno})" if code else self.title

    def signature(self) -> tuple[list[PieceName], list[PieceName]]:
        """What the piece changes and what it reads, in order."""
        parameters = arguments_of(self.function)
        if inspect.iscoroutinefunction(self.function) or inspect.isgeneratorfunction(self.function):
            raise FormulaError(f"piece {self.place}: a piece returns its results; it cannot be async, and has no yield")
        renamed, started = dict(self.renamed), dict(self.started)
        changes: list[PieceName] = []
        reads: list[PieceName] = []
        for p in parameters:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                if is_of_fastai(self.function):
                    raise FormulaError(
                        f"piece {self.place}: this is a fastai stepper. ravine.formula.stats_and_steppers({self.title}, ...) makes "
                        f"pieces of such functions, or write it so:\n\n{written_out(self.function)}\n"
                    )
                raise FormulaError(f"piece {self.place}: *{p.name} is not possible: every tensor and number is named")
            name = PieceName(p.name, renamed.get(p.name, p.name), started.get(p.name, p.default))
            if name.name in _IMPOSSIBLE:
                raise FormulaError(
                    f"piece {self.place}: {name.name!r} cannot be a name in a formula: {_IMPOSSIBLE[name.name]}"
                )
            (reads if p.kind is p.KEYWORD_ONLY else changes).append(name)
        return changes, reads

    def with_star(self, hypers: Collection[str]) -> str:
        """Its signature with a * before what it only reads, where the star was forgotten.

        Args:
            hypers: the names of hyperparameters.
        """
        changes, reads = self.signature()
        names = {n.name for n in changes}
        # Of these three a piece changes one, the last step of the formula first; the others it reads.
        changed = next((name for name in ("param", "update", "grad") if name in names), "")
        read = {*hypers, *RESERVED} - {changed}
        kept = [n for n in changes if n.name not in read]
        texts = [n.argument if not n.has_default else f"{n.argument}={n.default!r}" for n in kept]
        after = [n.argument for n in (*changes, *reads) if n not in kept]
        arguments = ", ".join([*texts, "*", *after])
        return f"lambda {arguments}: ..." if self.title == "<lambda>" else f"def {self.title}({arguments})"


def as_piece(piece: Callable[..., Any] | Piece) -> Piece:
    """The piece of a plain function; a piece as it is."""
    if isinstance(piece, Piece):
        return piece
    if not callable(piece):
        raise FormulaError(f"a piece is a Python function; got {piece!r} ({an(type(piece).__name__)})")
    return Piece(piece)


def pieces_in(formula: object) -> tuple[Callable[..., Any] | Piece, ...]:
    """The pieces of a formula, which is a list of them or one alone.

    Raises:
        FormulaError: it is something else.
    """
    if callable(formula) or isinstance(formula, Piece):
        return (formula,)
    try:
        pieces = iter(formula)  # type: ignore[call-overload]
    except TypeError:
        raise FormulaError(f"a formula is a list of pieces (functions); got {shown(formula)}") from None
    return tuple(pieces)


def check_initial(where: str, state: str, value: object) -> None:
    """Raise FormulaError if a state cannot start as a value."""
    if isinstance(value, ParamCopy | Scalar | Reduced | TensorState):
        return
    if not is_plain_number(value):
        own = ", or tensor_state(lambda shape: ...) for one with a shape of its own" * hasattr(value, "shape")
        raise FormulaError(
            f"{where}: the state {state!r} cannot start as {reprlib.repr(value)}: write a number, param_copy, or scalar(1.0) for one number{own}"
        )


@lru_cache(maxsize=1024)  # formulas are made anew whenever a hyperparameter that decides them changes
def _check_arguments(piece: Piece, names: tuple[str, ...], only_changed: bool = False) -> None:
    """Raise FormulaError if the piece has no argument of one of these names."""
    changes, reads = piece.signature()
    known = [n.argument for n in (changes if only_changed else changes + reads)]
    for name in names:
        if name not in known:
            raise FormulaError(f"piece {piece.place} has no argument {name!r}. {nearest(name, known)}")


def rename(piece: Callable[..., Any] | Piece, **names: str) -> Piece:
    """The same piece under other names, so that it can be used twice: ``rename(momentum, momentum_buffer='slow')``.

    Args:
        piece: the piece.
        names: ``name_in_the_function='name_in_the_formula'``, for states, hyperparameters and anything else it names.

    Raises:
        FormulaError: the function has no such argument, or the new name is not a Python name.
    """
    result = as_piece(piece)
    _check_arguments(result, tuple(names))
    for new in names.values():
        if not isinstance(new, str) or not new.isidentifier():
            raise FormulaError(f"rename({result.title}): {new!r} cannot be a name in a formula; write a Python name")
    # As Python reads names in a program: letters that only look different are one letter.
    names = {old: unicodedata.normalize("NFKC", new) for old, new in names.items()}
    return replace(result, renamed=tuple(sorted({**dict(result.renamed), **names}.items())))


def start(piece: Callable[..., Any] | Piece, **values: Initial) -> Piece:
    """The same piece with states that start elsewhere: ``start(rms, square_avg=1.0)``.

    Args:
        piece: the piece.
        values: initial value of a state, a number, ``param_copy`` or ``scalar(1.0)``, by its name in the function.

    Raises:
        FormulaError: the piece keeps no such state, or it cannot start as that.
    """
    result = as_piece(piece)
    _check_arguments(result, tuple(values), only_changed=True)
    of_squares = {n.argument for n in result.signature()[0] if isinstance(n.default, Squares)}
    for name, value in values.items():
        check_initial(f"start({result.title})", name, value)
        if name in of_squares and isinstance(value, int | float):  # wherever it starts
            values[name] = Squares(value)
    return replace(result, started=tuple(sorted({**dict(result.started), **values}.items(), key=lambda item: item[0])))
