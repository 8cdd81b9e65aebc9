"""Tracing: every piece of a formula is called once with symbols, and names connect the pieces.

Every mistake that can be seen without a tensor is found here, and the error names the piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ravine._written_alike import alike
from ravine.errors import FormulaError, an, kind_of, nearest, shown
from ravine.formula._compensation import parts_of, rests_of, whole_param
from ravine.formula._operations import FULL, REDUCTIONS
from ravine.formula._outside import INSTEAD
from ravine.formula._pieces import (
    RESERVED,
    ParamCopy,
    Piece,
    PieceName,
    Reduced,
    Scalar,
    Squares,
    TensorState,
    as_piece,
    check_initial,
    pieces_in,
)
from ravine.formula._program import Program
from ravine.formula._rounding import Narrow, rounded
from ravine.formula._sizes import SHAPES
from ravine.formula._symbols import Assignment, Symbol, buffer, kept, lift, number, postorder, whole
from ravine.formula._written import arguments_named

#: What other texts call the parameter.
_PARAM = ("p", "w", "x", "theta", "weight", "weights", "params", "parameter")


def hyper_defaults(pieces: Sequence[Callable[..., Any] | Piece]) -> dict[str, Any]:
    """The defaults that the signatures of the pieces give to hyperparameters, by name in the formula."""
    defaults: dict[str, Any] = {}
    owner: dict[str, Piece] = {}
    states = {n.name for piece in pieces for n in as_piece(piece).signature()[0]}
    for piece in map(as_piece, pieces):
        for n in piece.signature()[1]:
            if not n.has_default or n.name in states or n.name in RESERVED:
                continue
            if not alike(defaults.setdefault(n.name, n.default), n.default):
                raise FormulaError(
                    f"{n.name} is {defaults[n.name]!r} by default in piece {owner[n.name].place} but {n.default!r} in "
                    f"piece {piece.place}: give it one default, or rename one of them"
                )
            owner.setdefault(n.name, piece)
    return defaults


def trace_formula(
    pieces: Sequence[Callable[..., Any] | Piece] | Callable[..., Any] | Piece,
    hypers: Mapping[str, Any],
    guarded: bool = False,
    narrow: Narrow | None = None,
) -> Program:
    """The program of a list of pieces.

    Args:
        pieces: the formula, in order; a lone piece is one.
        hypers: the hyperparameters that are given. Only their names count, and the length of a tuple such as
            ``betas``: a program serves every value.
        guarded: count the elements of the gradient that are not finite, before anything is written.
        narrow: says what is kept in fewer bits than it is computed in.

    Raises:
        FormulaError: ``pieces`` is no list of pieces, ``hypers`` no dict, a name that nobody provides, a wrong number of results, a Python ``if`` on a symbol, an
            operation outside the language, a state that two pieces would share, a parameter that does not change.
    """
    known = [as_piece(p) for p in pieces_in(pieces)]
    if not isinstance(hypers, Mapping):
        raise FormulaError(f"hypers is a dict of hyperparameters by name, such as {{'lr': 0.1}}; got {shown(hypers)}")
    program = _Tracer(hypers).run(known, guarded, narrow)
    if narrow is not None and narrow.param_bits is not None:
        program.of_bfloat16 = _Tracer(hypers, narrow.param_bits).run(known, guarded, narrow)
    return program


def _remedy(error: Exception) -> str:
    if isinstance(error, NameError) and (instead := INSTEAD.get(error.name or "")):
        return f". It is not in the language of formulas; {instead}"
    if isinstance(error, NameError):
        return ". Arguments that a piece only reads come after * in its signature: def piece(update, *, lr)"
    if isinstance(error, TypeError) and ("'keepdim'" in str(error) or "'axis'" in str(error)):
        return ". A formula's sum, mean, norm, rms and amax take dim=-1 or dim=-2, and always keep the dimension: mean(x, dim=-1)"
    if isinstance(error, TypeError) and "tuple" in str(error):
        return ". A hyperparameter of several numbers is taken apart before it is used: beta1, beta2 = betas"
    if isinstance(error, ArithmeticError):
        return ". Python computes the plain numbers of a formula: write math.inf or math.nan if you mean that"
    return ""


def _got(results: tuple[Any, ...]) -> str:
    """What a piece returned, in words."""
    if len(results) == 1 and isinstance(results[0], list) and len(results[0]) == 1:
        return "a list of 1: return the value without [ ]"
    if len(results) == 1 and isinstance(results[0], list | dict):
        return f"{an(kind_of(results[0]))}: write them with commas between them, return a, b"
    nothing = len(results) == 1 and results[0] is None
    return "nothing" if nothing else f"{len(results)} value{'s' * (len(results) != 1)}"


def _moved_before(pieces: Sequence[Piece], moved: Piece, place: Piece) -> list[Piece]:
    rest = [piece for piece in pieces if piece is not moved]
    return [*rest[: rest.index(place)], moved, *rest[rest.index(place) :]]


class _Tracer:
    """Calls the pieces of one formula in order, and keeps what each name stands for.

    Args:
        hypers: the hyperparameters that are given.
        param_bits: of a formula for bfloat16 parameters that learn, how they do (``_rounding.Narrow``).
    """

    def __init__(self, hypers: Mapping[str, Any], param_bits: Literal["stochastic", 24, 32] | None = None) -> None:
        self.hypers, self.param_bits = hypers, param_bits
        self.rests = rests_of(param_bits)
        self.before = whole_param(self.rests)
        self.now: dict[str, Any] = {"param": self.before, "grad": buffer("grad"), "step": number("step")}
        self.update: Symbol | None = None  # None: still the gradient
        self.states: dict[str, float | ParamCopy | Reduced] = {}
        self.tensors: dict[str, TensorState] = {}
        self.kept: dict[str, Scalar] = {}
        self.owner: dict[str, Piece] = {}
        self.readers: dict[str, Piece] = {}
        self.pieces: list[Piece] = []
        self.assignments: list[Assignment] = []
        self.sums = Counter[str]()
        self.unread: dict[
            str, Piece
        ] = {}  # which piece that changes nothing else gave grad and update a value that nobody has read yet

    def run(self, pieces: list[Piece], guarded: bool = False, narrow: Narrow | None = None) -> Program:
        self.pieces = pieces
        for piece in pieces:
            self.call(piece)
        new = {
            "param": self.now["param"],
            **{name: self.now[name] for name in (*self.states, *self.kept, *self.tensors)},
        }
        for name, one in self.kept.items():
            if one.per == "group":
                self.check_same_for_group(name, new[name])
        if self.now["param"] is self.before:
            raise FormulaError(
                "no piece changes param, so the optimizer would do nothing: end the list with a piece such as "
                f"`def descend(param, *, update, lr): return param - lr * update`{self.meant_as_param()}"
            )
        for name, piece in self.unread.items():
            raise FormulaError(
                f"piece {piece.place} changes {name}, and no piece after it reads {name}, so that it would do nothing: put it before "
                "the piece that it is for"
            )
        if narrow is not None:
            new = self.stored(new, narrow)
        return Program(new, self.states, self.assignments, guarded, self.kept, self.tensors)

    def stored(self, new: dict[str, Any], narrow: Narrow) -> dict[str, Any]:
        """New values as they are stored, of those that are kept in fewer bits."""
        kinds = {name: narrow(name, initial, self.param_bits is not None) for name, initial in self.states.items()}
        if self.param_bits == "stochastic":
            kinds["param"] = "bfloat16", True
        elif self.param_bits == 24:
            kinds["param"] = "float24", narrow.at_random
        new = rounded(new, kinds, self.kept)
        if self.rests:
            new |= parts_of(new["param"], self.rests)
            self.states |= dict.fromkeys(self.rests, 0.0)
        return new

    def meant_as_param(self) -> str:
        """A sentence for a state that is called what other texts call the parameter; empty if there is none."""
        name = next((name for name in self.states if name.lower() in _PARAM), None)
        return "" if name is None else f". {name} is a state here, which starts at 0; the parameter is called param"

    def call(self, piece: Piece) -> None:
        changes, reads = piece.signature()
        if not changes:
            raise FormulaError(f"piece {piece.place} changes nothing: put the arguments that it updates before *")
        arguments = [self.changed(piece, n) for n in changes]
        read = {n.argument: self.read(piece, n) for n in reads}
        called = {id(a): n.argument for n, a in zip(changes, arguments, strict=True)}
        called |= {id(a): argument for argument, a in read.items()}
        try:
            with arguments_named(called):
                results = piece.function(*arguments, **read)
        except FormulaError as error:
            raise FormulaError(f"piece {piece.place}: {error}") from None
        except Exception as error:
            raise FormulaError(
                f"piece {piece.place} failed while its formula was read: {type(error).__name__}: {error}{_remedy(error)}"
            ) from error
        results = results if isinstance(results, tuple) else (results,)
        listed = isinstance(results[0], list | dict) if results else False
        if len(results) != len(changes) or listed or any(r is None for r in results):
            names = ", ".join(n.argument for n in changes)
            raise FormulaError(
                f"piece {piece.place} must return the new values of ({names}), in that order; it returned {_got(results)}"
            )
        self.name_sums(piece, results)
        for n, result in zip(changes, results, strict=True):
            self.assign(piece, n.name, result)

    def name_sums(self, piece: Piece, results: tuple[Any, ...]) -> None:
        """Name each sum over several tensors by its piece: different formulas join the sums of the same piece."""
        for symbol in postorder([r for r in results if isinstance(r, Symbol)]):
            if symbol.op in REDUCTIONS and REDUCTIONS[symbol.op].over != "tensor" and not symbol.name:
                self.sums[piece.title] += 1
                symbol.name = f"{piece.title}.{self.sums[piece.title]}"

    def assign(self, piece: Piece, name: str, result: object) -> None:
        try:
            value = lift(result)
        except FormulaError as error:
            raise FormulaError(f"piece {piece.place}: the new {name}: {error}") from None
        if value.truth:
            raise FormulaError(f"piece {piece.place}: the new {name} is a truth value; write where(condition, 1, 0)")
        self.check_shape(piece, name, value)
        before = self.read_of(name) if name in ("update", "grad") else value
        if before is not value and all(n.name in ("update", "grad") for n in piece.signature()[0]):
            self.unread[name] = piece  # one that keeps a state may be there for that
        if name == "update":
            self.update = value
        else:
            self.now[name] = value
        self.assignments.append(Assignment(piece.title, name, value))

    def check_shape(self, piece: Piece, name: str, value: Symbol) -> None:
        """Raise FormulaError if a name cannot have a value of that shape."""
        if value.op == "tensor" and name not in self.tensors:
            raise FormulaError(
                f"piece {piece.place}: the new {name} is {value.name}, a tensor of a shape of its own: only a function that "
                "is marked @tensor_function takes it"
            )
        if name in self.tensors:
            if value.op not in ("tensor", "result"):
                raise FormulaError(
                    f"piece {piece.place}: {name} is a tensor of a shape of its own: its new value is what a function gives "
                    "that is marked @tensor_function"
                )
            return
        if name in self.kept:
            if value.element:
                raise FormulaError(
                    f"piece {piece.place}: the new {name} is a value for {SHAPES[value.axes]}, and {name} is one number "
                    f"({self.kept[name]!r}): write mean(...), norm(...) or another number of the tensor, or keep a tensor, "
                    f"{name}=0.0"
                )
            return
        initial = self.states.get(name)
        if isinstance(initial, Reduced):
            if value.axes & ~initial.axes:
                raise FormulaError(
                    f"piece {piece.place}: the new {name} has one value for {SHAPES[value.axes]}, and {name} ({initial!r}) has "
                    f"one for {SHAPES[initial.axes]}: write mean(..., dim={initial.dim}) or another value of a "
                    f"{'row' if initial.dim == -1 else 'column'}"
                )
        elif value.axes not in (0, FULL) and name != "update":
            raise FormulaError(
                f"piece {piece.place}: the new {name} has one value for {SHAPES[value.axes]}, and {name} has one for every "
                "element: a value of a row or column only scales what has one for every element"
            )

    def check_same_for_group(self, name: str, value: Symbol) -> None:
        """Raise FormulaError if the new value of a group's number is another for each parameter."""
        for symbol in postorder([value], into=lambda s: s.op not in REDUCTIONS):
            if symbol.op == "tensor" or symbol.element:
                continue
            of_tensor = symbol.op in REDUCTIONS and REDUCTIONS[symbol.op].over == "tensor"
            if symbol.op == "number" and symbol.name == "step":
                given, instead = "step", "count in the formula, k=scalar(0, per='group') and k = k + 1"
            elif symbol.op == "numel" or of_tensor:
                given, instead = "a number of one tensor", "write over='group', as in norm(grad, over='group')"
            elif symbol.op == "kept" and self.kept[symbol.name].per == "tensor":
                given, instead = f"{symbol.name}, which each parameter has", "keep it with scalar(..., per='group') too"
            else:
                continue
            raise FormulaError(
                f"piece {self.owner[name].place}: {name} is one number for the group, and its new value depends on {given}: "
                f"{instead}; or leave out per='group'"
            )

    def read_of(self, name: str) -> Any:
        """The value of update or grad at this place; update is the gradient at first."""
        return self.now["grad"] if name == "grad" or self.update is None else self.update

    def noted(self, name: str) -> Any:
        """The same, and that it was read."""
        self.unread.pop("grad" if name == "update" and self.update is None else name, None)
        return self.read_of(name)

    def changed(self, piece: Piece, n: PieceName) -> Any:
        name = n.name
        if name in ("update", "grad"):
            return self.noted(name)
        if name == "step":
            raise FormulaError(f"piece {piece.place}: step is counted for you; put it after *")
        if name in RESERVED:
            return self.now[name]
        if name in self.owner:
            raise FormulaError(
                f"pieces {self.owner[name].place} and {piece.place} would both keep the state {name!r}: to use two, "
                f"write rename({piece.title}, {n.argument}='another_name'); to read the first one's, put {n.argument} after *"
            )
        if name in self.readers:
            raise FormulaError(
                f"piece {self.readers[name].place} reads {name!r} before piece {piece.place} makes it: put the piece that keeps the "
                f"state first, or rename one of the two"
            )
        if name in self.hypers:
            raise FormulaError(
                f"piece {piece.place} keeps the state {name!r}, but a hyperparameter of that name was given: put it after *, "
                f"{piece.with_star(self.hypers)}, or rename one of them"
            )
        initial = n.default if n.has_default else 0.0
        check_initial(f"piece {piece.place}", name, initial)
        self.owner[name] = piece
        if isinstance(initial, Scalar):
            self.kept[name], self.now[name] = initial, kept(name)
            return self.now[name]
        if isinstance(initial, TensorState):
            self.tensors[name], self.now[name] = initial, whole(name)
            return self.now[name]
        self.states[name] = initial if isinstance(initial, ParamCopy | Reduced | Squares) else float(initial)
        self.now[name] = buffer(name, initial.axes) if isinstance(initial, Reduced) else buffer(name)
        return self.now[name]

    def read(self, piece: Piece, n: PieceName) -> Any:
        name = n.name
        if name in ("update", "grad"):
            return self.noted(name)
        if name in self.now:
            return self.now[name]
        if name not in self.hypers:
            later = [one for one in self.pieces if any(c.name == name for c in one.signature()[0])]
            if later:
                raise FormulaError(
                    f"piece {piece.place} reads {name!r}, which piece {later[0].place} keeps after it: put that piece first, "
                    f"[{', '.join(one.title for one in _moved_before(self.pieces, later[0], piece))}]"
                )
            known = [*RESERVED, *self.states, *self.kept, *self.tensors, *self.hypers]
            raise FormulaError(
                f"piece {piece.place} reads {name!r}, but no earlier piece keeps a state of that name and no hyperparameter "
                f"{name}=... was given. {nearest(name, known)}"
            )
        self.readers.setdefault(name, piece)
        value = self.hypers[name]
        if isinstance(value, tuple | list):
            return tuple(number(f"{name}[{i}]") for i in range(len(value)))
        return number(name)
