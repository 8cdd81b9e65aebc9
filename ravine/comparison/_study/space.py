"""Search spaces: where each hyperparameter may lie, and quasi-random points that fill it evenly."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ravine.errors import OptionError, nearest

Scale = Literal["log", "linear", "complement"]
Point = dict[str, float]

#: The widest range of a learning rate, in powers of ten: with few points, a wider one finds nothing.
DECADES = 4.0


@dataclass(frozen=True)
class Range:
    """Where a hyperparameter may lie.

    Attributes:
        low, high: its least and largest value.
        scale: which values are as likely: ``"log"``, every power of ten; ``"linear"``, every interval;
            ``"complement"``, every power of ten of 1 - x, for momentum and decays: 0.9 to 0.99 as likely as 0.99 to 0.999.

    Raises:
        OptionError: the range is empty, or its scale cannot have such values.
    """

    low: float
    high: float
    scale: Scale = "log"

    def __post_init__(self) -> None:
        if self.scale not in ("log", "linear", "complement"):
            raise OptionError(f"scale = {self.scale!r}: a range is 'log', 'linear' or 'complement'.")
        for value in (self.low, self.high):
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise OptionError(
                    f"A range goes from a finite number to a larger one, not from {self.low!r} to {self.high!r}."
                )
        if not self.low < self.high:
            raise OptionError(f"The range from {self.low:g} to {self.high:g} is empty: low must be below high.")
        if self.scale == "log" and self.low <= 0:
            raise OptionError(
                f'A range in powers of ten begins above 0, not at {self.low:g}; or give scale = "linear".'
            )
        if self.scale == "complement" and self.high >= 1:
            raise OptionError(f"A range in powers of ten of 1 - x ends below 1, not at {self.high:g}.")

    def value(self, share: float) -> float:
        """The value at ``share`` of the way from low to high, from 0 to 1."""
        a, b = self._inner(self.low), self._inner(self.high)
        x = a + share * (b - a)
        if self.scale == "log":
            return 10.0**x
        return 1 - 10.0**-x if self.scale == "complement" else x

    def share(self, value: float) -> float:
        """How far along the range a value lies; below 0 or above 1 outside it."""
        a, b = self._inner(self.low), self._inner(self.high)
        return (self._inner(value) - a) / (b - a)

    def _inner(self, value: float) -> float:
        if self.scale == "log":
            return math.log10(value) if value > 0 else -math.inf
        return -math.log10(1 - value) if self.scale == "complement" else value

    def beyond(self, side: Literal["low", "high"]) -> Range:
        """The part that widening adds on one side: a power of ten, or a quarter of a linear range."""
        inner = self._inner(self.low if side == "low" else self.high)
        step = (self.high - self.low) / 4 if self.scale == "linear" else 1.0
        other = inner - step if side == "low" else inner + step
        if self.scale == "log":
            other = 10.0**other
        elif self.scale == "complement":
            other = max(0.0, 1 - 10.0**-other)
        return replace(self, low=other, high=self.low) if side == "low" else replace(self, low=self.high, high=other)

    def open(self, side: Literal["low", "high"]) -> bool:
        """Whether there is anything beyond a side: below a momentum of 0 there is nothing."""
        return not (self.scale == "complement" and side == "low" and self.low <= 0)

    def joined(self, other: Range) -> Range:
        """Both ranges as one."""
        return replace(self, low=min(self.low, other.low), high=max(self.high, other.high))


Space = Mapping[str, Range]


def points(space: Space, count: int, *, first: int = 0, seed: int = 0) -> list[Point]:
    """Points number ``first`` to ``first + count`` of a scrambled Halton sequence over the space (Owen, 2017).

    The same ``seed`` gives the same sequence, so later points go on where earlier ones ended.
    """
    # in the order of the names: a space that was written down and read again may have another
    found = _points(tuple(sorted(space.items(), key=lambda item: item[0])), count, first, seed)
    return [{name: point[name] for name in space} for point in found]


@lru_cache(1000)  # every look at a study asks for all of them
def _points(space: tuple[tuple[str, Range], ...], count: int, first: int, seed: int) -> tuple[Point, ...]:
    if not space:
        return ({},) if first == 0 else ()
    from scipy.stats import qmc

    sequence = qmc.Halton(len(space), scramble=True, rng=np.random.default_rng(seed))
    if first:
        sequence.fast_forward(first)
    return tuple(
        {name: values.value(float(share)) for (name, values), share in zip(space, row, strict=True)}
        for row in sequence.random(count)
    )


def edge(space: Space, tried: list[Point], best: Point) -> tuple[str, Literal["low", "high"]] | None:
    """The hyperparameter whose best value is the least or the largest that was tried, and which of these."""
    for name in space:
        values = [point[name] for point in tried]
        if len(set(values)) > 1 and best[name] in (min(values), max(values)):
            side: Literal["low", "high"] = "low" if best[name] == min(values) else "high"
            if space[name].open(side):
                return name, side
    return None


def read(path: Path, known: list[str]) -> dict[str, dict[str, Range]]:
    """The spaces of a file: by optimizer, by hyperparameter.

    The file is TOML::

        [rmsprop]
        lr = { low = 1e-5, high = 1e-1 }
        alpha = { low = 0.9, high = 0.999, scale = "complement" }

    Args:
        path: the file.
        known: the optimizers that take part, as they were written.

    Raises:
        OptionError: it cannot be read, is no such file, or names an optimizer that does not take part.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"The space file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"The space file {path} is not TOML: {error}.") from error
    found: dict[str, dict[str, Range]] = {}
    for name, rows in content.items():
        if isinstance(rows, dict) and {"low", "high"} & rows.keys() and name not in known:
            raise OptionError(f"{path}: {name} stands outside of a table; write [{known[0]}] in the line above it.")
        if name not in known:
            raise OptionError(f"{path}: no optimizer {name!r} takes part. {nearest(name, known)}")
        if not isinstance(rows, dict) or not rows:
            raise OptionError(f"{path}: [{name}] is empty; give at least lr = {{ low = 1e-4, high = 1.0 }}.")
        found[name] = {hyper: _range(value, f"{path}: [{name}] {hyper}") for hyper, value in rows.items()}
    return found


def _range(value: Any, where: str) -> Range:
    if not isinstance(value, dict) or not {"low", "high"} <= value.keys() <= {"low", "high", "scale"}:
        raise OptionError(f"{where} = {value!r}: write {{ low = 1e-4, high = 1.0 }}, and a scale if it is not log.")
    try:
        found = Range(**value)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return checked(found, where.rpartition(" ")[2], where)


def checked(found: Range, hyper: str, where: str) -> Range:
    """The range; a learning rate's may have at most four powers of ten."""
    if hyper == "lr" and found.scale == "log" and math.log10(found.high / found.low) > DECADES + 1e-9:
        raise OptionError(
            f"{where}: from {found.low:g} to {found.high:g} are more than {DECADES:g} powers of ten: with few points none "
            "would lie where it matters. Where the best point lies at an edge, the range is widened by itself."
        )
    return found
