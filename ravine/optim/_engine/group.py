"""The plan of one parameter group: its formula as a program, and the numbers that it uses in this step."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ravine.backends import Batch
from ravine.formula import Piece, Program, trace_formula
from ravine.optim._hyperparameters import check

if TYPE_CHECKING:
    from ravine.optim._engine.plan import Steps

Pieces = tuple[Callable[..., Any] | Piece, ...]


@lru_cache(maxsize=1024)
def _program(pieces: Pieces, shape: tuple[tuple[str, int], ...], guarded: bool) -> Program:
    return trace_formula(pieces, {name: (0.0,) * length if length else 0.0 for name, length in shape}, guarded)


def program_of(
    pieces: Sequence[Callable[..., Any] | Piece], hypers: Mapping[str, Any], guarded: bool = False
) -> Program:
    """The program of a list of pieces; the same object for the same pieces."""
    # A flag is no number: it chooses pieces, where the list of them is made. None stands for a piece left out.
    shape = tuple(
        (n, len(v) if isinstance(v, tuple | list) else 0)
        for n, v in hypers.items()
        if v is not None and not isinstance(v, bool)
    )
    return _program(tuple(pieces), shape, guarded)


class GroupPlan:
    """The plan of one parameter group.

    Args:
        group: the group.
        pieces_of: gives the formula of a group.
        defaults: the options that a group has.
        extra: hyperparameters that come from elsewhere (``grad_scale``); read at every step, like the group's.
        where: names the group for errors.
        guarded: whether gradients are looked at for NaN and infinity before anything is written.
    """

    def __init__(
        self,
        group: dict[str, Any],
        pieces_of: Callable[[dict[str, Any]], Sequence[Callable[..., Any] | Piece]],
        defaults: Mapping[str, Any],
        extra: Mapping[str, float],
        where: str,
        guarded: bool = False,
    ) -> None:
        self._guarded = guarded
        self.group = group
        self.batches: list[tuple[Batch, Steps]] = []
        self._pieces_of, self._defaults, self._extra, self._where = pieces_of, defaults, extra, where
        self._keys = [k for k in defaults if k != "fused"]
        self.fused, self.params = group["fused"], list(group["params"])
        self._get = operator.itemgetter(*self._keys, "fused")
        self._names = [*self._keys, *extra]
        self._values: list[Any] = [self] * len(self._names)  # nothing has been looked at yet
        self._pieces: Pieces = ()
        self._read(self._now())

    def _now(self) -> list[Any]:
        group = self.group
        values = [group[k] for k in self._keys]
        # A tensor may change in place, so what is kept and compared is its number.
        return [v if type(v) in (float, int, bool) else _plain(v) for v in values] + [*self._extra.values()]

    def _read(self, values: list[Any]) -> None:
        group = self.group
        for name, value, before in zip(self._keys, values, self._values, strict=False):
            if value is not before:
                check(name, group[name], self._defaults[name], self._where)
        self._values = values
        # Plain numbers are compared as they stand; a tensor's value may change in place.
        raw = self._get(group)
        self._raw = raw if all(isinstance(v, float | int | None) or _numbers(v) for v in raw) else None
        known = dict(zip(self._names, values, strict=True))
        pieces = tuple(self._pieces_of(group))
        if pieces != self._pieces:
            self.program, self._pieces = program_of(pieces, known, self._guarded), pieces
            split = (name.partition("[") for name in self.program.hypers)
            self._used = [(base, int(index[:-1]) if index else None) for base, _, index in split]
        self.hypers = tuple(known[base] if i is None else known[base][i] for base, i in self._used)
        self.changed = True

    def refresh(self) -> bool:
        """Read the hyperparameters again; False if they now make another formula or the group has other parameters."""
        params = self.group["params"]
        if len(params) != len(self.params) or not all(map(operator.is_, params, self.params)):
            return False
        if self.group["fused"] is not self.fused:
            return False
        try:
            if self._raw is not None and not self._extra and self._get(self.group) == self._raw:
                return True
        except (RuntimeError, ValueError):
            pass  # a tensor of several elements stands where a number was
        values = self._now()
        if values == self._values:
            return True
        before = self.program
        self._read(values)
        return self.program is before


def _numbers(value: Any) -> bool:
    return type(value) is tuple and all(isinstance(v, float | int) for v in value)


def _plain(value: Any) -> Any:
    """Numbers for tensors of one element, NumPy scalars and tuples of them."""
    if isinstance(value, tuple | list):
        return tuple(_plain(v) for v in value)
    if isinstance(value, torch.Tensor | np.generic | np.ndarray) and math.prod(value.shape) == 1:
        return value.item()
    if isinstance(value, torch.Tensor | np.ndarray):
        return tuple(value.reshape(-1).tolist())  # no number, which ``check`` will say
    return value
