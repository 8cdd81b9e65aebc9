"""What one parameter group asks for in this step: its program, and the values of the hyperparameters it uses."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import is_
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine.errors import FormulaError, OptionError, ParameterError, shown
from ravine.formula import Piece, Program, trace_formula
from ravine.formula._pieces import as_piece
from ravine.formula._rounding import Narrow
from ravine.optim._engine.group_keys import warn_misspelt
from ravine.optim._hyperparameters import WHOLE, Check, length_of, several

Pieces = Sequence[Callable[..., Any] | Piece]


@lru_cache(maxsize=1024)
def _program(
    pieces: tuple[Any, ...], shape: tuple[tuple[str, int], ...], guarded: bool, narrow: Narrow | None
) -> Program:
    return trace_formula(pieces, {name: (0.0,) * length if length else 0.0 for name, length in shape}, guarded, narrow)


def program_of(
    pieces: Pieces, hypers: Mapping[str, Any], guarded: bool = False, narrow: Narrow | None = None
) -> Program:
    """The program of a list of pieces; the same object for the same pieces."""
    # A flag is no number: it chooses pieces, where the list of them is made. None stands for a piece left out.
    shape = tuple((n, length_of(v)) for n, v in hypers.items() if v is not None and not isinstance(v, bool | np.bool_))
    try:
        return _program(tuple(pieces), shape, guarded, narrow)
    except FormulaError:
        _refuse_switches(pieces, hypers)
        raise


def _refuse_switches(pieces: Pieces, hypers: Mapping[str, Any]) -> None:
    """Raise FormulaError for a truth value that a piece reads: that is why there is no number of that name."""
    for piece in map(as_piece, pieces):
        for n in piece.signature()[1]:
            if isinstance(value := hypers.get(n.name), bool | np.bool_):
                raise FormulaError(
                    f"piece {piece.place} reads {n.name}={value}, and a hyperparameter of a piece is a number. Give {n.name}={int(value)} "
                    f"and write where({n.argument} != 0, a, b) in the piece; or let Python choose the piece: [one if {n.name} else other]"
                ) from None


def check_complete(group: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    """Raise OptionError if somebody took an option out of a group."""
    for name in keys:
        if name not in group:
            raise OptionError(
                f"there is no {name!r} any more{where}: set group[{name!r}] again in optimizer.param_groups"
            )


def check_listed(group: Mapping[str, Any], where: str) -> None:
    """Raise ParameterError if somebody put something else in the place of a group's parameters."""
    params = group.get("params")
    if not isinstance(params, list | tuple) or not all(isinstance(p, Tensor) for p in params):
        other = (
            next((p for p in params if not isinstance(p, Tensor)), None) if isinstance(params, list | tuple) else params
        )
        raise ParameterError(
            f"params{where} is to be a list of tensors, and {'holds' if other is not params else 'is'} {shown(other)}: set "
            "group['params'] = [parameter, ...] again in optimizer.param_groups"
        )


def group_at(groups: Sequence[dict[str, Any]], index: int) -> dict[str, Any]:
    """The parameter group of that number.

    Raises:
        OptionError: there is no such group.
    """
    if not isinstance(index, int) or not -len(groups) <= index < len(groups):
        known = (
            "this optimizer has one, program(0)" if len(groups) == 1 else f"program(0) to program({len(groups) - 1})"
        )
        raise OptionError(f"there is no parameter group {index!r}: {known}")
    return groups[index]


class Snapshot(NamedTuple):
    """A group as it was looked at. It is compared with the group as it is now.

    Attributes:
        params: its parameters.
        get: gives the values of the options that stand in the group.
        raw: these values, if they are plain numbers and compare as such; else None.
        absent: what must not stand in it: options that it is without, and those of the whole optimizer.
        size: how many keys it has: of one more, somebody may have misspelt an option.
        values: the values of all options as numbers; a tensor on a device stays one.
    """

    params: tuple[Tensor, ...]
    get: Callable[[dict[str, Any]], tuple[Any, ...]]
    raw: tuple[Any, ...] | None
    absent: frozenset[str]
    size: int
    values: tuple[Any, ...]


class GroupPlan(NamedTuple):
    """A group's programs, with the values of the hyperparameters that each uses, in its order.

    There is one program for each number of dimensions of its parameters where the formula asks for that (``ndim``); else one,
    under None.
    """

    snapshot: Snapshot
    programs: dict[int | None, Program]
    hypers: dict[Program, tuple[Any, ...]]
    fused: bool | None

    def program_of(self, p: Tensor) -> Program:
        """The program that steps a parameter."""
        return program_for(p, self.programs)


def program_for(p: Tensor, programs: Mapping[int | None, Program]) -> Program:
    """The program that steps a parameter, of those of its group."""
    program = programs[None] if None in programs else programs[p.ndim]
    return program.of_bfloat16 if program.of_bfloat16 is not None and p.dtype is torch.bfloat16 else program


def all_of(programs: Mapping[int | None, Program]) -> list[Program]:
    """The programs of a group, with those for bfloat16 parameters."""
    return [each for program in programs.values() for each in (program, program.of_bfloat16) if each is not None]


class GroupReader:
    """Reads the parameter groups of one optimizer. It keeps nothing of them.

    Args:
        keys: the options that every group has.
        neutral: those that a group need not have, and what they are if it has not.
        pieces_of: gives the formula of a group, for a number of dimensions.
        by_ndim: whether it asks for that.
        guarded: whether gradients are looked at for NaN and infinity before anything is written.
        check: raises OptionError for a value that an option cannot have.
        warned: the keys of groups that were warned of.
        narrow: says what is kept in fewer bits than it is computed in.
    """

    def __init__(
        self,
        keys: Sequence[str],
        neutral: Mapping[str, Any],
        pieces_of: Callable[[Mapping[str, Any], int | None], Pieces],
        by_ndim: bool,
        guarded: bool,
        check: Check,
        warned: set[str],
        narrow: Narrow | None = None,
    ) -> None:
        self._narrow = narrow
        self._keys, self._neutral, self._pieces_of, self.guarded = list(keys), neutral, pieces_of, guarded
        self._by_ndim = by_ndim
        self._needed = [name for name in keys if name not in neutral]
        self._check, self._warned = check, warned

    def snapshot(self, group: dict[str, Any], where: str) -> Snapshot:
        check_listed(group, where)
        check_complete(group, self._needed, where)
        present = tuple(name for name in self._keys if name in group)
        get = _getter(present)
        # The owner of a list may write to it.
        raw = tuple(v.copy() if type(v) is list else v for v in get(group))
        plain = all(isinstance(v, float | int | str | None) or _numbers(v) for v in raw)
        absent = WHOLE.union(name for name in self._neutral if name not in group)
        values = {**self._neutral, **dict(zip(present, raw, strict=True))}
        plain_values = tuple(_plain(values[n]) for n in self._keys)
        return Snapshot(tuple(group["params"]), get, raw if plain else None, absent, len(group), plain_values)

    def unchanged(self, group: dict[str, Any], snapshot: Snapshot) -> bool:
        """Whether a group is what it was; the quick way, for plain numbers."""
        # This runs at every step: names that are looked up once, and nothing written in Python that C does.
        known, get, raw, absent, size, _ = snapshot
        try:
            params = group["params"]
            if raw is None or len(params) != len(known) or not all(map(is_, params, known)):
                return False
            now = get(group)
            if Tensor in map(type, now):  # one on a device cannot be compared without waiting
                return False
            same: bool = now == raw
            return same and len(group) == size and absent.isdisjoint(group)
        except (RuntimeError, ValueError, KeyError, TypeError):
            return False  # a tensor of several elements stands where a number was, or nothing does

    def programs(self, group: dict[str, Any], where: str, ndim: int | None = None) -> dict[int | None, Program]:
        """The programs of a group, as a plan has them; of one number of dimensions, if that is given.

        Raises:
            OptionError, FormulaError: an option was taken out of the group, or the formula is wrong.
        """
        check_complete(group, self._needed, where)
        values = {**self._neutral, **group}
        hypers = {name: values[name] for name in self._keys if name != "fused"}
        ndims = ndims_of(group, self._by_ndim) if ndim is None or not self._by_ndim else [ndim]
        return {n: self._program(group, hypers, n) for n in ndims}

    def _program(self, group: Mapping[str, Any], hypers: Mapping[str, Any], ndim: int | None) -> Program:
        pieces = self._pieces_of({**self._neutral, **group}, ndim)
        try:
            return program_of(pieces, hypers, self.guarded, self._narrow)
        except TypeError as error:  # something in the list that has no hash
            raise FormulaError(f"a formula is a list of functions: {error}") from error

    def plan(
        self, group: dict[str, Any], extra: Mapping[str, Any], where: str, before: GroupPlan | None = None
    ) -> GroupPlan:
        """The plan of a group.

        Args:
            group: the group.
            extra: hyperparameters that come from elsewhere (``grad_scale``).
            where: names the group for errors.
            before: the plan so far: values that are the same objects have been checked.

        Raises:
            OptionError, FormulaError: a value or the formula is wrong.
        """
        now = self.snapshot(group, where)
        if before and not extra and _same(now, before.snapshot):
            if now.size == before.snapshot.size:
                return before
            self._warn_misspelt(group, before.programs, where)
            return before._replace(snapshot=now)
        known = before.snapshot.values if before else (self,) * len(now.values)
        for name, value, was in zip(self._keys, now.values, known, strict=True):
            if value is not was and not isinstance(value, Tensor) and name in group:
                self._check(name, group[name], where)
        values = {**dict(zip(self._keys, now.values, strict=True)), **extra}
        hypers = {name: v for name, v in values.items() if name != "fused"}
        programs = {ndim: self._program(group, hypers, ndim) for ndim in ndims_of(group, self._by_ndim)}
        if before is None or now.size != before.snapshot.size:
            self._warn_misspelt(group, programs, where)
        numbers = {each: tuple(_value(values, name) for name in each.hypers) for each in all_of(programs)}
        return GroupPlan(now, programs, numbers, values["fused"])

    def _warn_misspelt(self, group: dict[str, Any], programs: Mapping[int | None, Program], where: str) -> None:
        kept = [name for program in programs.values() for name in program.kept]
        warn_misspelt(group, [*self._keys, *kept], where, self._warned)


def ndims_of(group: Mapping[str, Any], by_ndim: bool) -> list[int | None]:
    """For which numbers of dimensions a group has a formula, the largest first; None: one for all."""
    if not by_ndim:
        return [None]
    params = [
        p[1] if isinstance(p, tuple) else p for p in group["params"]
    ]  # with their names, before torch takes them apart
    ndims: list[int | None] = [*sorted({p.ndim for p in params if isinstance(p, Tensor)}, reverse=True)]
    return ndims or [2]


@lru_cache(maxsize=256)
def _getter(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Gives these values of a group, as a tuple."""
    return operator.itemgetter(*names) if len(names) > 1 else lambda group: tuple(group[n] for n in names)


def _same(now: Snapshot, before: Snapshot) -> bool:
    """Whether parameters and values are the same; a tensor on a device may have changed in place."""
    if len(now.params) != len(before.params) or not all(map(is_, now.params, before.params)):
        return False
    return not any(isinstance(v, Tensor) for v in now.values) and now.values == before.values


def _value(values: Mapping[str, Any], name: str) -> Any:
    base, _, index = name.partition("[")
    return values[base][int(index[:-1])] if index else values[base]


def number_of(scale: Tensor) -> Any:
    """GradScaler's scale as a number of a program: on a device it stays there."""
    return float(scale) if backends.on_host(scale.device) else scale.detach()


def _numbers(value: Any) -> bool:
    return type(value) in (tuple, list) and all(isinstance(v, float | int | None) for v in value)


def _plain(value: Any) -> Any:
    """Numbers for tensors of one element, NumPy scalars and tuples of them; what is on a device stays there."""
    if isinstance(value, float | int | str | None):
        return value
    if isinstance(value, Tensor) and not backends.on_host(value.device):
        # Several elements are no number, which the check will say.
        return value.detach().reshape(()) if value.numel() == 1 else tuple(value.reshape(-1).tolist())
    if isinstance(value, Tensor | np.generic | np.ndarray) and math.prod(value.shape) == 1:
        return value.item()
    # Where one number is meant, the check will say that it is several.
    numbers = several(value)
    return value if numbers is None else tuple(_plain(v) for v in numbers)
