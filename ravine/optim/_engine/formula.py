"""From what a user passes to the pieces of a group: those of the optimizer, and those of the common options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

import ravine
from ravine.errors import FormulaError, OptionError, an, nearest, same_in_other_words, shown
from ravine.formula import ParamCopy, Piece, Program
from ravine.formula._fastai_text import arguments_of, call_of, is_of_fastai, named_arguments, title_of
from ravine.formula._pieces import RESERVED, as_piece, pieces_in
from ravine.formula._stats_and_steppers import answer_to
from ravine.optim._common import OF_GROUPS, parameters_of
from ravine.optim._engine.group import Pieces
from ravine.optim._hyperparameters import TORCH_ONLY
from ravine.optim.pieces import ascend, cautious, clip_global_norm, ema, lookahead, unscale


def listed(pieces: Any) -> tuple[Callable[..., Any] | Piece, ...] | None:
    """The pieces as a tuple; None for a named optimizer, which has a formula."""
    if pieces is None:
        return None
    _refuse_optimizer(pieces)
    if isinstance(pieces, Mapping):
        raise FormulaError(
            "a formula is a list of pieces (functions); got a dict of defaults, as torch's optimizers take: an optimizer "
            "with a step of its own is to derive from torch.optim.Optimizer"
        )
    many = pieces_in(pieces)
    for piece in many:
        _refuse_optimizer(piece)
        _refuse_parameters(piece)
    if theirs := [one for one in many if not isinstance(one, Piece) and is_of_fastai(one)]:
        raise FormulaError(
            f"{', '.join(map(title_of, theirs))}: this is a fastai stepper, not a piece. {answer_to(theirs)}"
        )
    if not many:
        raise FormulaError("the list of pieces is empty: Optimizer(params, [piece, ...], lr=...)")
    check_names(many)
    return many


def _refuse_optimizer(piece: object) -> None:
    """Raise FormulaError for the name or the class of an optimizer where a piece is meant."""
    if isinstance(piece, str):
        named = [name for name in ravine.optim.__all__ if name.lower() == piece.lower()]
        instead = (
            f"from ravine.optim import {named[0]}; {named[0]}(params, ...)"
            if named
            else "the functions themselves, [piece, ...]"
        )
        raise FormulaError(f"a formula is a list of pieces (functions); got the text {piece!r}: write {instead}")
    if isinstance(piece, type) and issubclass(piece, torch.optim.Optimizer):
        raise FormulaError(
            f"a formula is a list of pieces (functions); {piece.__name__} is an optimizer: write {piece.__name__}(params, ...)"
        )


def _refuse_parameters(piece: object) -> None:
    """Raise FormulaError for parameters where a piece is meant: ``partial(Optimizer, pieces)`` puts them there."""
    if (callable(piece) and not isinstance(piece, torch.nn.Module)) or isinstance(piece, Piece):
        return
    inner = piece[-1] if isinstance(piece, tuple) and piece else piece
    if isinstance(inner, torch.Tensor | torch.nn.Module | Mapping):
        raise FormulaError(
            "a formula is a list of pieces (functions), and these are parameters: they come first, Optimizer(params, [piece, ...], "
            "lr=...). Before they are known pieces need their name: partial(Optimizer, pieces=[piece, ...], lr=...)"
        )
    called = " Write a piece's name without brackets: it is called when the formula is read" * isinstance(
        piece, tuple | float
    )
    raise FormulaError(f"a formula is a list of pieces (functions); one of them is {shown(piece)}.{called}".rstrip("."))


#: What a group holds that is no number of a formula, by name; clip_norm and ema_decay are numbers that a piece may read.
_TAKEN = {
    **dict.fromkeys(
        ("maximize", "fused", "nonfinite", "watch", "pieces", "state_dtype", "rounding", "param_bits"),
        "an option of every optimizer",
    ),
    **dict.fromkeys(TORCH_ONLY, "an option of torch's optimizers"),
    **dict.fromkeys(("name", "param_names"), "what a parameter group is called"),
    "initial_lr": "what schedulers keep in a parameter group",
}
_NO_STATE = {
    **_TAKEN,
    **dict.fromkeys(OF_GROUPS, "an option of every optimizer"),
    "grad_scale": "the scale of GradScaler",
}


#: What other libraries and books call the longest norm of the gradients.
CLIPPING = ("c", "clip", "clipnorm", "clip_norms", "clip_grad", "clip_grad_norm", "grad_clip", "max_grad_norm")
#: What readers of other libraries call the gradients of all parameters.
_LISTS = ("gs", "grads", "gradients")


def check_names(pieces: Sequence[Any]) -> None:
    """Raise FormulaError if a piece calls a state or hyperparameter what an optimizer already calls something else."""
    for piece in map(as_piece, pieces):
        changes, reads = piece.signature()
        for n in (*changes, *reads):
            if n.name in _LISTS:
                raise FormulaError(
                    f"piece {piece.place} takes {n.argument!r}, a list of all gradients, but a piece is for one parameter at a "
                    "time. The norm of all gradients together is global_norm(grad): "
                    "def clip(grad, *, longest): return grad * minimum(1, longest / global_norm(grad)), with longest=50; "
                    "or leave the piece out and pass clip_norm=50"
                )
        # unscale is ours, and reads the scale of GradScaler.
        taken = _TAKEN if piece.function is unscale else {**_TAKEN, "grad_scale": _NO_STATE["grad_scale"]}
        for names, known, kind in ((changes, _NO_STATE, "keeps the state"), (reads, taken, "reads")):
            for n in names:
                if n.name in known:
                    raise FormulaError(
                        f"piece {piece.place} {kind} {n.name!r}, and that is {known[n.name]}: give it another name in the "
                        f"function, or write rename({piece.title}, {n.argument}='another_name')"
                    )


def refuse_cbs(given: Mapping[str, Any]) -> None:
    """Raise FormulaError for fastai's ``cbs``, with what to write."""
    if "cbs" not in given:
        return
    many = given["cbs"] if isinstance(given["cbs"], Sequence) else [given["cbs"]]
    names = [call_of(one) for one in many]
    theirs = [one for one in many if callable(one) and not isinstance(one, Piece) and is_of_fastai(one)]
    # What decides in Python belongs to the adapter: an optimizer's hyperparameters are numbers.
    taken = {a.name for one in theirs for a in named_arguments(one)}
    switches = [name for name, value in given.items() if isinstance(value, bool | str) and name in taken]
    inside = ", ".join([*names, *(f"{name}={given[name]!r}" for name in switches)])
    pieces, imported = (
        (f"stats_and_steppers({inside})", ", with from ravine.formula import stats_and_steppers")
        if theirs
        else (f"[{inside}]", "")
    )
    rest = "".join(f", {name}={value!r}" for name, value in given.items() if name != "cbs" and name not in switches)
    raise FormulaError(
        f"cbs is fastai's name for what are pieces here: write Optimizer(params, {pieces}{rest}){imported}; before "
        f"the parameters are known partial(Optimizer, pieces={pieces}{rest})"
    )


def check_read(pieces: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Raise OptionError for a hyperparameter that no piece reads."""
    known = [as_piece(piece) for piece in pieces]
    states = {n.name for piece in known for n in piece.signature()[0]}
    read = {n.name for piece in known for n in piece.signature()[1]}
    numbers = sorted(read.difference(states, RESERVED))
    for name, value in given.items():
        if name in read:
            continue
        if name in states:
            piece = next(one for one in known if any(n.name == name for n in one.signature()[0]))
            raise OptionError(
                f"piece {piece.place} has {name!r} among the tensors that it changes, and {name}={shown(value)} was given: what a piece "
                f"only reads stands after *, {piece.with_star(given)}"
            )
        if word := same_in_other_words(name, numbers):
            raise OptionError(f"no piece reads the hyperparameter {name!r}: write {word}={shown(value)}")
        clips = name in CLIPPING
        hint = " Gradients are shortened by clip_norm=..., or by global_norm(grad) in a piece." if clips else ""
        raise OptionError(f"no piece reads the hyperparameter {name!r}. {nearest(name, numbers)}{hint}")


def check_options(cls: type, given: Mapping[str, Any], base: type) -> None:
    """Raise for an option that a named optimizer does not have.

    Raises:
        FormulaError: it has no formula.
        TypeError: it has no such option; the nearest is named.
    """
    if cls.formula is None:  # type: ignore[attr-defined]
        if cls is base:
            raise FormulaError("Optimizer needs a formula: Optimizer(params, [piece, ...], lr=...)")
        raise FormulaError(
            f"the class {cls.__name__} has no formula: write a function in it that gives the pieces, `@staticmethod`, "
            "`def formula(): return [piece, ...]`"
        )
    if cls.__init__ is base.__init__ and not _deciding(cls):  # type: ignore[misc]
        check_read(_declared(cls, {}, None), given)  # without a constructor it has what is read
        return
    known = parameters_of(cls)
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return  # it has no signature of its own, and the formula says what is read
    settled = settled_by(cls, base)
    for name in given:
        if name not in known and name not in settled and name not in _read_by_formula(cls, given):
            raise TypeError(
                f"{cls.__name__} has no option {name!r}. {nearest(name, [n for n in known if n != 'params'])}"
            )


def settled_by(cls: type, base: type) -> set[str]:
    """The options that a class derived from a named one passes on: AdamW is Adam with ``decoupled_weight_decay``."""
    named = [c for c in cls.__mro__ if issubclass(c, base) and c is not base]
    constructors = [parameters_of(c) for c in named[1:]]
    settled = {n for each in constructors if all(p.kind is not p.VAR_KEYWORD for p in each.values()) for n in each}
    return settled | {name for c in named for name in vars(c).get("hypers", ())}


def _read_by_formula(cls: type, given: Mapping[str, Any]) -> set[str]:
    """The hyperparameters of a class's formula, which its constructor may give without having them as arguments."""
    try:
        pieces = [as_piece(piece).signature() for ndim in (1, 2) for piece in _declared(cls, given, ndim)]
    except FormulaError:  # it asks for an option that every optimizer has, and that is not among those given
        pieces = []
    states = {n.name for changes, _ in pieces for n in changes}
    return {n.name for _, reads in pieces for n in reads}.difference(states, RESERVED).union(_deciding(cls))


def formula_of(
    pieces: Pieces | None,
    cls: type,
    group: Mapping[str, Any],
    ndim: int | None = None,
    *,
    scaled: bool = False,
) -> list[Callable[..., Any] | Piece]:
    """The pieces of a group as they are run.

    Args:
        pieces: the optimizer's; None: those that the formula of its class gives.
        cls: the optimizer's class.
        group: the group.
        scaled: gradients come scaled by GradScaler.
        ndim: how many dimensions the parameters have, for a formula that has it as an argument.

    Raises:
        FormulaError: the formula of the class takes what is no option, or gives no pieces.
    """
    if pieces is None:
        pieces = _declared(cls, group, ndim)
    first: list[Any] = [unscale] if scaled else []
    first += [ascend] if group["maximize"] else []
    first += [clip_global_norm] if group["clip_norm"] is not None and not _reads(pieces, "clip_norm") else []
    last: list[Any] = [lookahead] if group["lookahead"] is not None and not _reads(pieces, "lookahead") else []
    last += [ema()] if group["ema_decay"] is not None and not _reads(pieces, "ema_decay") else []
    return [*first, *(_made_cautious(pieces) if group["cautious"] is True else pieces), *last]


def asks_ndim(cls: type) -> bool:
    """Whether the formula of a class is another for parameters with another number of dimensions."""
    return cls.formula is not None and "ndim" in _deciding(cls)  # type: ignore[attr-defined]


def _declared(cls: type, group: Mapping[str, Any], ndim: int | None) -> tuple[Callable[..., Any] | Piece, ...]:
    """The pieces that the formula of a class gives, from those of a group's options that are named as its arguments.

    Raises:
        FormulaError: one of these is no option, or it gives no pieces.
    """
    names = _deciding(cls)
    for name in names:
        if name != "ndim" and name not in group:
            known = [option for option in group if option not in ("params", "param_names")]
            raise FormulaError(
                f"the formula of {cls.__name__} takes {name!r}, and the class has no such option. {nearest(name, ['ndim', *known])}"
            )
    given = cls.formula(**{name: ndim if name == "ndim" else group[name] for name in names})  # type: ignore[attr-defined]
    if given is None:
        raise FormulaError(f"the formula of {cls.__name__} gives nothing: end it with `return [piece, ...]`")
    try:
        return pieces_in(given)
    except FormulaError as error:
        raise FormulaError(f"the formula of {cls.__name__}: {error}") from None


def _made_cautious(pieces: Pieces) -> list[Callable[..., Any] | Piece]:
    """The pieces, with the mask before the one that steps."""
    for place, piece in reversed(list(enumerate(pieces))):
        changes, reads = as_piece(piece).signature()
        if "param" in (n.name for n in changes) and "update" in (n.name for n in reads):
            return [*pieces[:place], cautious, *pieces[place:]]
    raise FormulaError(
        "cautious=True compares the update with the gradient, and this formula has no update: no piece takes param before "
        "the star and update after it. End it with pieces.descend: def descend(param, *, update, lr)"
    )


def average_in(program: Program) -> str:
    """The state that holds the average of a parameter; empty if there is none."""
    kept = [n for n, initial in program.states.items() if isinstance(initial, ParamCopy) and initial.average]
    return kept[0] if kept else ""


def _reads(pieces: Pieces, name: str) -> bool:
    """Whether a piece of the user's own reads the number that one of ours would."""
    return any(n.name == name for piece in pieces for n in as_piece(piece).signature()[1])


def _deciding(cls: type) -> tuple[str, ...]:
    """The options of a group that decide the formula of a class: the arguments of its ``formula``.

    Raises:
        FormulaError: it is no function of options.
    """
    formula = cls.formula  # type: ignore[attr-defined]
    if not callable(formula):
        raise FormulaError(
            f"the formula of {cls.__name__} is {an(type(formula).__name__)}: write a function that gives the pieces, "
            "`@staticmethod`, `def formula(): return [piece, ...]`"
        )
    return _arguments(formula, cls.__name__)


@functools.cache  # reading a signature takes longer than the rest of making a small optimizer
def _arguments(formula: Callable[..., Any], name: str) -> tuple[str, ...]:
    """The arguments of the formula of a class of that name."""
    parameters = {p.name: p for p in arguments_of(formula, f"the formula of {name}")}
    named = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    rest = ", ".join(argument for argument in named if argument not in ("self", "cls"))
    if next(iter(parameters), "") in ("self", "cls"):
        raise FormulaError(
            f"the formula of {name} takes options, not {next(iter(parameters))}: write `@staticmethod`, `def formula({rest})`"
        )
    if reserved := [argument for argument in parameters if argument in RESERVED]:
        raise FormulaError(
            f"the formula of {name} takes options, not {reserved[0]}, as if it were a piece: write a function that gives "
            f"the pieces, `@staticmethod`, `def formula(): return [{getattr(formula, '__name__', 'piece')}]`"
        )
    if len(named) < len(parameters):
        raise FormulaError(
            f"the formula of {name} takes options by their names, not {inspect.signature(formula)}: write `@staticmethod`, "
            f"`def formula({rest or 'momentum'})`"
        )
    return tuple(parameters)
