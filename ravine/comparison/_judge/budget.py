"""What a user gets who tries only a few points: the loss of a fresh run at the best of k points, by k.

Each tuning's first k points have a best one, and a fresh run was trained at it. So nothing here is a score that was chosen
for being small: the curve is what the user will see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from ravine.comparison._judge.measurements import LOSS, Array, Metric, OptimizerRuns
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._judge.values import LEAST


@dataclass(frozen=True, eq=False, repr=False)
class BudgetCurve:
    """The loss after tuning with k points, for each k of ``points``.

    Attributes:
        name: the optimizer.
        points: the numbers of points.
        expected: the mean loss of the fresh runs; one that diverged counts as the loss that it began with.
        low, high: the 95% interval of each mean.
        lost: the share of the runs that diverged.
    """

    name: str
    points: tuple[int, ...]
    expected: Array
    low: Array
    high: Array
    lost: Array

    def __repr__(self) -> str:
        expected = ", ".join(f"{k}: {value:.4g}" for k, value in zip(self.points, self.expected, strict=True))
        return f"BudgetCurve({self.name!r}, loss by points {expected})"

    @property
    def sentence(self) -> str:
        if len(self.points) == 1:
            return f"{self.name} was tuned with {count(self.points[0], 'point')} only: {number(self.expected[0], 3)}."
        first, last = self.points[0], self.points[-1]
        return (
            f"{self.name}: a loss of {number(self.expected[0], 3)} when tuned with {count(first, 'point')}, "
            f"{number(self.expected[-1], 3)} with {count(last, 'point')}."
        )


def budget_of(optimizers: Sequence[OptimizerRuns], metric: Metric = LOSS) -> dict[str, BudgetCurve]:
    """The curve of each optimizer that was tuned; of a ratio, means and intervals are those of the logarithm."""
    curves = {}
    for optimizer in optimizers:
        starts = np.array([run.start for run in optimizer.runs])
        if not optimizer.budget or not np.isfinite(starts).any():
            continue
        starts = np.where(np.isfinite(starts), starts, np.nanmedian(starts))
        points = tuple(sorted(optimizer.budget))
        rows = [np.asarray(optimizer.budget[k], dtype=float) for k in points]
        columns = [_interval(np.minimum(np.where(np.isfinite(row), row, starts), starts), metric) for row in rows]
        expected, low, high = np.array(columns).T
        lost = np.array([float(np.mean(~np.isfinite(row))) for row in rows])
        curves[optimizer.name] = BudgetCurve(optimizer.name, points, expected, low, high, lost)
    return curves


def _interval(losses: Array, metric: Metric) -> tuple[float, float, float]:
    values = np.log(np.maximum(losses, LEAST)) if metric.ratio else losses
    mean, reach = float(values.mean()), 0.0
    if len(values) > 1:
        reach = float(scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    middle, low, high = mean, mean - reach, mean + reach
    return (float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))) if metric.ratio else (middle, low, high)
