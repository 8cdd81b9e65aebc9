"""The differences between optimizers as a report shows them, computed once by ``report_data``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ravine.comparison._judge import Judgement, Pair

_BEYOND = 8.0  # times the usual reach of an interval: a wider one ends in an arrow


@dataclass(frozen=True)
class Difference:
    """A pair, and its difference as it is read: times for a ratio, else units of the metric; and its 95% interval."""

    pair: Pair
    middle: float
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class Differences:
    """All optimizers against one, in one metric.

    Attributes:
        base: the optimizer that the others are held against.
        rows: the others; none where there is nothing to compare.
        ratio, higher_is_better: of the metric; False without rows.
        limits: from where to where a picture reaches: over all intervals but those far wider than usual, and those that
            diverged runs make.
    """

    base: str
    rows: Sequence[Difference]
    ratio: bool
    higher_is_better: bool
    limits: tuple[float, float]

    def __repr__(self) -> str:
        return f"Differences({len(self.rows)} optimizers against {self.base!r})"

    @property
    def no_difference(self) -> float:
        """What equal optimizers have."""
        return 1.0 if self.ratio else 0.0


def differences(judgement: Judgement) -> dict[str, Differences]:
    """The differences in each metric, by its name."""
    return {name: _differences(pairs, judgement.base[name]) for name, pairs in judgement.pairs.items()}


def _differences(pairs: Sequence[Pair], base: str) -> Differences:
    if not pairs:
        return Differences(base, [], False, False, (math.nan, math.nan))
    metric = pairs[0].metric

    def read(value: float) -> float:
        return float(np.exp(value)) if metric.ratio else value

    rows = [Difference(p, read(p.difference), read(p.low), read(p.high)) for p in pairs]
    low, high = _limits(pairs)
    return Differences(base, rows, metric.ratio, metric.higher_is_better, (read(low), read(high)))


def _limits(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Room for all intervals but those that diverged runs make, or far wider than usual; 0 is always inside."""
    sure = [p for p in pairs if p.metric.ratio or not (p.first_bounded or p.second_bounded)] or pairs
    ends = np.array([[p.low, p.high] for p in sure if math.isfinite(p.low) and math.isfinite(p.high)]).reshape(-1, 2)
    if not len(ends):
        ends = np.array([[p.difference, p.difference] for p in sure])
    reach = np.abs(ends).max(axis=1)
    within = ends[reach <= _BEYOND * np.median(reach)]
    low, high = min(0.0, float(within.min())), max(0.0, float(within.max()))
    room = 0.06 * (high - low) or 0.1
    return low - room, high + room
