"""Curves as every reader gives them, and the checks that all of them need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ravine.errors import ComparisonError, DataError

Array = NDArray[np.float64]


class Place(NamedTuple):
    """Where a value was read: a file or another source, and its line, from 1; 0 where there are no lines."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}" if self.line else self.source


@dataclass(frozen=True, eq=False, repr=False)
class RunCurve:
    """One run of one optimizer.

    Attributes:
        optimizer, run: their names; the same name of a run stands for the same seed in all optimizers.
        steps: where it was measured, at least 0, rising.
        values: what was measured there; all finite.
        diverged_at: the step of the first value that was NaN or infinite; what followed it is left out. None: there is none.
        blank_from: the first step after the last value for which there is a row without a value; None: there is none.

    Raises:
        ComparisonError: steps and values do not fit together.
    """

    optimizer: str
    run: str
    steps: Array
    values: Array
    diverged_at: float | None = None
    blank_from: float | None = None

    def __post_init__(self) -> None:
        where = f"Run {self.run!r} of {self.optimizer!r}"
        if self.steps.ndim != 1 or self.steps.shape != self.values.shape:
            raise ComparisonError(
                f"{where} has steps of shape {self.steps.shape} and values of shape {self.values.shape}."
            )
        if not (np.isfinite(self.steps).all() and (self.steps >= 0).all() and (np.diff(self.steps) > 0).all()):
            raise ComparisonError(f"{where} has steps that do not rise from one value to the next, from at least 0.")
        if not np.isfinite(self.values).all():
            raise ComparisonError(f"{where} has values that are not finite: end it there, with diverged_at.")
        if not self.steps.size and not self.diverged:
            raise ComparisonError(f"{where} has no values.")

    def __repr__(self) -> str:
        end = "" if self.diverged_at is None else f", diverged at step {self.diverged_at:g}"
        return f"RunCurve({self.optimizer!r}, run {self.run!r}, {self.steps.size} values{end})"

    @property
    def diverged(self) -> bool:
        """Whether a value was NaN or infinite."""
        return self.diverged_at is not None


@dataclass(frozen=True, eq=False, repr=False)
class Curves:
    """The curves of several optimizers, in the order in which they were read; no two of the same optimizer and run.

    Attributes:
        curves: of all runs.
        metrics: what the values are called, where the file says so and not the user.
        grouped: the runs by optimizer, of those for which the names of the runs say the optimizer.
        numbered: the optimizers with runs that have no name, and so go by the number of their trial.
    """

    curves: tuple[RunCurve, ...]
    metrics: Sequence[str] = ()
    grouped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    numbered: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Curves({len(self.optimizers)} optimizers, {len(self.curves)} runs)"

    def __iter__(self) -> Iterator[RunCurve]:
        return iter(self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    @property
    def optimizers(self) -> list[str]:
        """The names of the optimizers."""
        return list(dict.fromkeys(curve.optimizer for curve in self.curves))

    def of(self, optimizer: str) -> list[RunCurve]:
        """The runs of one optimizer."""
        return [curve for curve in self.curves if curve.optimizer == optimizer]


class CurveRows:
    """Takes values in any order, from any number of files, and makes curves of them."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], dict[float, tuple[float, Place]]] = {}
        self._seen: dict[tuple[str, str], Place] = {}
        self._blank: dict[tuple[str, str], list[float]] = {}
        self._metrics: dict[str, None] = {}
        self._grouped: dict[str, list[str]] = {}
        self._numbered: dict[str, None] = {}
        self.tagged = False  # whether a scalar was read that a tag names

    def metric(self, name: str) -> None:
        """Say what values are called that nobody has named."""
        self._metrics[name] = None

    def named(self, optimizer: str, run: str, place: Place) -> tuple[str, str]:
        """Declare a run whose name said the optimizer, and return both."""
        self.declare(optimizer, run, place)
        self._grouped.setdefault(optimizer, []).append(run)
        return optimizer, run

    def number(self, optimizer: str) -> None:
        """Say that a run of this optimizer goes by the number of its trial."""
        self._numbered[optimizer] = None

    def declare(self, optimizer: str, run: str, place: Place) -> None:
        """Say that there is such a run: one that gets no values is an error."""
        self._runs.setdefault((optimizer, run), {})
        self._seen.setdefault((optimizer, run), place)

    def has_value(self, optimizer: str, run: str) -> bool:
        """Whether such a run has a value."""
        return bool(self._runs.get((optimizer, run)))

    def blank(self, optimizer: str, run: str, step: float, place: Place) -> None:
        """Say that there is a row of a run in which nothing was measured."""
        self.declare(optimizer, run, place)
        self._blank.setdefault((optimizer, run), []).append(step)

    def add(self, optimizer: str, run: str, step: float, value: float, place: Place) -> None:
        """Take a value; NaN or an infinity says that the run diverged there.

        Raises:
            DataError: the step is no step, or the run has a value there already.
        """
        self.declare(optimizer, run, place)
        if not (math.isfinite(step) and step >= 0):
            raise DataError(f"{place}: the step {step:g} is not a number of at least 0.")
        values = self._runs[optimizer, run]
        if step in values:
            earlier = values[step][1]
            raise DataError(
                f"{place}: run {run!r} of {optimizer!r} has a second value at step {step:g}; the first is in {earlier}. "
                "Leave one of them out, or give the runs different names."
            )
        values[step] = (value, place)

    def curves(self) -> Curves:
        """The curves of all runs.

        Raises:
            DataError: a run has no values.
        """
        curves = tuple(self._curve(optimizer, run) for optimizer, run in self._runs)
        return Curves(curves, tuple(self._metrics), self._grouped, tuple(self._numbered))

    def _curve(self, optimizer: str, run: str) -> RunCurve:
        points = sorted((step, value) for step, (value, _) in self._runs[optimizer, run].items())
        if not points:
            problem = f"{self._seen[optimizer, run]}: run {run!r} of {optimizer!r} has no values"
            if (optimizer, run) not in self._blank:
                raise DataError(f"{problem}.")
            raise DataError(
                f"{problem}: all of them are empty or null, which is not measured. Leave the run out, or write nan where it "
                "diverged."
            )
        end = next((i for i, (_, value) in enumerate(points) if not math.isfinite(value)), len(points))
        steps, values = (np.array([point[i] for point in points[:end]], dtype=np.float64) for i in (0, 1))
        blank = min((step for step in self._blank.get((optimizer, run), ()) if step > points[-1][0]), default=None)
        return RunCurve(optimizer, run, steps, values, points[end][0] if end < len(points) else None, blank)
