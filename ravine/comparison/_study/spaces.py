"""Search spaces: where each hyperparameter may lie, and quasi-random points that fill it evenly."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ravine.errors import OptionError, nearest, shown
from ravine.optim._search_space import checked
from ravine.optim.search import Range

Point = dict[str, float]

Space = Mapping[str, Range]


def points(space: Space, count: int, *, first: int = 0, seed: int = 0) -> list[Point]:
    """Points number ``first`` to ``first + count`` of a Halton sequence over the space, moved as a whole by a random shift
    (Cranley and Patterson, 1976).

    The same ``seed`` gives the same sequence, so later points continue where earlier ones ended. Shifted, every place of
    the space is as likely as any other: where a range begins does not decide how near a point lies to an optimum.
    """
    # in the order of the names: a space that was written down and read again may have another
    drawn = _points(tuple(sorted(space.items(), key=lambda item: item[0])), count, first, seed)
    return [{name: point[name] for name in space} for point in drawn]


@lru_cache(10_000)  # whoever asks how far a study is asks for all of them
def _points(space: tuple[tuple[str, Range], ...], count: int, first: int, seed: int) -> tuple[Point, ...]:
    # With nothing to search a tuning is one training all the same: the margin, the target and the scale of several tasks are
    # made of what tunings scored, so that no run that is judged decides them.
    if not space:
        return ({},) if first == 0 else ()
    shift = np.random.default_rng(seed).random(len(space))
    return tuple(
        {name: values.value(float(share)) for (name, values), share in zip(space, row, strict=True)}
        for row in (_halton(len(space), count, first) + shift) % 1.0
    )


@lru_cache(100)  # the same for all seeds
def _halton(dimensions: int, count: int, first: int) -> NDArray[np.float64]:
    from scipy.stats import qmc

    sequence = qmc.Halton(dimensions, scramble=False)
    if first:
        sequence.fast_forward(first)
    drawn: NDArray[np.float64] = sequence.random(count)
    return drawn


def edges(space: Space, tried: list[Point], best: Point) -> list[tuple[str, Literal["low", "high"]]]:
    """The hyperparameters whose best value is the least or the largest that was tried, and which of these."""
    at_edge: list[tuple[str, Literal["low", "high"]]] = []
    for name in space:
        values = [point[name] for point in tried]
        if len(set(values)) > 1 and best[name] in (min(values), max(values)):
            side: Literal["low", "high"] = "low" if best[name] == min(values) else "high"
            if space[name].open(side):
                at_edge.append((name, side))
    return at_edge


SpacesLike = str | Path | Mapping[str, Mapping[str, Range]] | None
"""Search spaces by label and hyperparameter, or a file with them; None: those of the optimizers' classes."""


def spaces_of(given: SpacesLike, labels: Sequence[str]) -> dict[str, dict[str, Range]]:
    """Search spaces by label and hyperparameter.

    A file is TOML::

        [rmsprop]
        lr = { low = 1e-5, high = 1e-1 }
        alpha = { low = 0.9, high = 0.999, scale = "complement" }

    Args:
        given: ``{"rmsprop": {"lr": log(1e-5, 0.1), "alpha": complement(0.9, 0.999)}}``, or the path of a file.
        labels: the optimizers that take part.

    Raises:
        OptionError: it cannot be read, is no such file or dict, or names an optimizer that does not take part.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        flat = {name: values for name, values in given.items() if isinstance(values, Range) and name not in labels}
        if flat:
            rows = ", ".join(f"{name!r}: {v.scale}({v.low:g}, {v.high:g})" for name, v in flat.items())
            raise OptionError(
                f"space has the ranges of {', '.join(map(repr, flat))} outside any optimizer: write "
                f"space={{{labels[0]!r}: {{{rows}}}}}, and so for each optimizer."
            )
        return {label: _checked_dict(label, rows, labels) for label, rows in given.items()}
    if not isinstance(given, str | os.PathLike):
        raise OptionError(
            f"space {shown(given)}: give search spaces by label, space={{{labels[0]!r}: {{'lr': log(1e-5, 0.1)}}}}, or the path "
            "of a TOML file with them."
        )
    return _read(Path(given), labels)


def _checked_dict(label: str, rows: Any, labels: Sequence[str]) -> dict[str, Range]:
    where = f"space[{label!r}]"
    if label not in labels:
        raise OptionError(f"{where}: {label!r} is not among the optimizers. {nearest(str(label), labels)}")
    if not isinstance(rows, Mapping) or not rows:
        raise OptionError(f"{where} is {rows!r}; give at least {{'lr': log(1e-4, 1.0)}}.")
    for name, values in rows.items():
        if not isinstance(values, Range):
            raise OptionError(
                f"{where}[{name!r}] is {values!r}; write log(1e-5, 0.1), linear(0.0, 0.5) or complement(0.9, 0.999), which "
                "ravine.comparison has."
            )
    return {name: checked(values, name, f"{where}[{name!r}]") for name, values in rows.items()}


def _read(path: Path, labels: Sequence[str]) -> dict[str, dict[str, Range]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"The space file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"The space file {path} is not TOML: {error}. {_tables(labels)}") from error
    spaces: dict[str, dict[str, Range]] = {}
    for name, rows in content.items():
        if isinstance(rows, dict) and {"low", "high"} & rows.keys() and name not in labels:
            raise OptionError(f"{path}: {name} is outside any table; write {_table(labels[0])} above it.")
        if name not in labels:
            raise OptionError(
                f"{path}: {name!r} is not among the optimizers. {nearest(name, labels)} {_tables(labels)}"
            )
        if not isinstance(rows, dict) or not rows:
            raise OptionError(f"{path}: [{name}] is empty; give at least lr = {{ low = 1e-4, high = 1.0 }}.")
        spaces[name] = {hyper: _range(value, f"{path}: [{name}] {hyper}") for hyper, value in rows.items()}
    return spaces


def _table(label: str) -> str:
    """The head of an optimizer's table: TOML takes letters, digits, _ and - as they are, and all else in quotes."""
    return f"[{label}]" if re.fullmatch(r"[A-Za-z0-9_-]+", label) else f"[{json.dumps(label)}]"


def _tables(labels: Sequence[str]) -> str:
    return f"Its tables are {', '.join(map(_table, labels))}."


def _range(value: Any, where: str) -> Range:
    if not isinstance(value, dict) or not {"low", "high"} <= value.keys() <= {"low", "high", "scale"}:
        raise OptionError(f"{where} = {value!r}: write {{ low = 1e-4, high = 1.0 }}, and a scale if it is not log.")
    try:
        values = Range(**value)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return checked(values, where.rpartition(" ")[2], where)
