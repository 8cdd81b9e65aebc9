"""Every optimizer against the best of the others as a report shows it, computed once by ``report_data``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ravine.comparison._judge import Compared
from ravine.comparison._judge.number_text import number
from ravine.comparison._judge.with_best import TOP

_BEYOND = 8.0  # times the usual reach of an interval: a wider one ends in an arrow


@dataclass(frozen=True)
class Difference:
    """An optimizer, and its difference to the best of the others as it is read: times for a ratio, else units of the metric.

    Attributes:
        label: the optimizer.
        middle, low, high: the difference and its interval; of a metric where more is better, less is worse.
        verdict: that of the standing, in words.
        ratio: whether it is how many times the best of the others' it is.
    """

    label: str
    middle: float
    low: float
    high: float
    verdict: str
    ratio: bool = False

    @property
    def may_be_best(self) -> bool:
        """Whether it is the best or may be: drawn filled, and all others hollow."""
        return self.verdict in TOP

    def text(self, value: float, digits: int = 2) -> str:
        """A value of it: ``0.012``, or ``1.2×``."""
        return number(value, digits) + "×" * self.ratio

    @property
    def interval_text(self) -> str:
        """``-0.01 to 0.02``, or ``0.9× to 1.2×``."""
        return f"{self.text(self.low)} to {self.text(self.high)}"


@dataclass(frozen=True, repr=False)
class Differences:
    """All optimizers, each against the best of the others, in one metric.

    Attributes:
        rows: the optimizers, best first.
        ratio, higher_is_better: of the metric.
        limits: from where to where a picture reaches: over the margin and all intervals but those far wider than usual.
        margin: the largest difference that does not matter, on both sides of none.
    """

    rows: Sequence[Difference]
    ratio: bool
    higher_is_better: bool
    limits: tuple[float, float]
    margin: tuple[float, float]

    def __repr__(self) -> str:
        return f"Differences({len(self.rows)} optimizers)"

    @property
    def no_difference(self) -> float:
        """What equal optimizers have."""
        return 1.0 if self.ratio else 0.0

    def row(self, label: str) -> Difference:
        """The difference of the optimizer of that label."""
        return next(row for row in self.rows if row.label == label)


def differences(compared: Mapping[str, Compared]) -> dict[str, Differences]:
    """The differences in each metric, by its name."""
    return {name: _differences(one) for name, one in compared.items()}


def _differences(compared: Compared) -> Differences:
    metric, judgement = compared.metric, compared.with_best
    sign = -1.0 if metric.higher_is_better else 1.0

    def read(value: float) -> float:
        return float(np.exp(value)) if metric.ratio else sign * value

    rows = []
    for s in judgement.standings:
        low, high = sorted((read(s.low), read(s.high)))
        verdict = s.verdict
        words = f"{verdict}, but within the margin" if verdict == "not the best" and s.equivalent else verdict
        rows.append(Difference(s.name, read(s.difference), low, high, words, metric.ratio))
    ends = [(s.low, s.high) for s in judgement.standings]
    limits = sorted(map(read, _limits(ends, judgement.margin)))
    margin = sorted((read(-judgement.margin), read(judgement.margin)))
    return Differences(rows, metric.ratio, metric.higher_is_better, (limits[0], limits[1]), (margin[0], margin[1]))


def _limits(intervals: Sequence[tuple[float, float]], margin: float) -> tuple[float, float]:
    """Room for the margin on both sides of 0, so that its ends are seen, and for all intervals but those far wider than usual."""
    ends = np.array([ends for ends in intervals if math.isfinite(ends[0]) and math.isfinite(ends[1])]).reshape(-1, 2)
    if not len(ends):
        return -1.0 - margin, 1.0 + margin
    reach = np.abs(ends).max(axis=1)
    within = ends[reach <= _BEYOND * np.median(reach)]
    low, high = min(-margin, float(within.min())), max(margin, float(within.max()))
    room = 0.06 * (high - low) or 0.1
    return low - room, high + room
