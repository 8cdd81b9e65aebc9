"""What a user gets who tries only a few points: the expected best score against the number of points.

From the one sweep, exactly, without drawing: of all subsets of k of the K points (without replacement, each equally
likely) the best is the i-th smallest score with probability C(K-i, k-1) / C(K, k) (Dodge et al., 2019,
https://arxiv.org/abs/1909.03004, has the same with replacement, which is biased at k near K).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from ravine.comparison._judge.measurements import Array, OptimizerRuns
from ravine.comparison._judge.number_text import count, number
from ravine.errors import ComparisonError

_FAR = 3.0  # times the loss that runs begin with


@dataclass(frozen=True, eq=False, repr=False)
class BudgetCurve:
    """The best of k points, for each k of ``points``.

    ``expected`` is its mean over all subsets, ``low`` to ``high`` holds it in at least 80 (``coverage``) of 100 subsets,
    ``lost`` is the chance that all k diverge, or end far above where runs begin. Such a point counts as ``worst``.
    """

    name: str
    points: tuple[int, ...]
    expected: Array
    low: Array
    high: Array
    lost: Array
    worst: float
    coverage: float

    def __repr__(self) -> str:
        expected = ", ".join(f"{k}: {value:.4g}" for k, value in zip(self.points, self.expected, strict=True))
        return f"BudgetCurve({self.name!r}, expected best of {expected})"

    @property
    def sentence(self) -> str:
        if len(self.points) == 1:
            return f"{self.name} was tried at one point only: {number(self.expected[0], 3)}."
        first, last, total = self.points[0], self.points[-1], self.expected[0] - self.expected[-1]
        near = next(k for k, e in zip(self.points, self.expected, strict=True) if e - self.expected[-1] <= 0.1 * total)
        text = (
            f"{self.name}: expected best loss {number(self.expected[0], 3)} after {count(first, 'trial')}, "
            f"{number(self.expected[-1], 3)} after {count(last, 'trial')}"
        )
        return text + (f"; {count(near, 'trial')} bring 90% of the gain." if 1 < near < last else ".")


def expected_best(
    scores: ArrayLike,
    points: Sequence[int] | None = None,
    *,
    worst: float | None = None,
    coverage: float = 0.8,
    name: str = "",
) -> BudgetCurve:
    """The best score of k of these points, over all subsets.

    Args:
        scores: one score for each point, lower is better; NaN or infinite for one that diverged.
        points: the k asked for; None takes 1, 2, 4, ... and all.
        worst: what a diverged point counts as; None takes the worst of the scores. Pass the worst of *all*
            optimizers where several are shown together.
        coverage: how much of all subsets ``low`` to ``high`` has to hold.

    Raises:
        ComparisonError: no point, or none that did not diverge while ``worst`` is not given; an impossible k.
    """
    given = np.asarray(scores, dtype=float).ravel()
    diverged = ~np.isfinite(given)
    total = given.size
    if worst is None:
        if diverged.all():
            raise ComparisonError(f"None of the {total} points of {name or 'this sweep'} has a score.")
        worst = float(given[~diverged].max())
    ordered = np.sort(np.where(diverged, worst, given))
    asked = _doubling(total) if points is None else tuple(points)
    if not asked or min(asked) < 1 or max(asked) > total:
        raise ComparisonError(f"A budget lies between 1 and the {total} points of the sweep, not {list(asked)}.")
    chances = np.array([_chances(total, k) for k in asked])
    reached = np.cumsum(chances, axis=1)
    tail, rounding = (1 - coverage) / 2, 1e-9
    return BudgetCurve(
        name,
        asked,
        chances @ ordered,
        ordered[np.argmax(reached >= tail - rounding, axis=1)],
        ordered[np.argmax(reached >= 1 - tail - rounding, axis=1)],
        np.array([np.exp(_log_choose(diverged.sum(), k) - _log_choose(total, k)) for k in asked]),
        worst,
        coverage,
    )


def budget_of(optimizers: Sequence[OptimizerRuns]) -> dict[str, BudgetCurve]:
    """The curve of each optimizer's first round of tuning.

    A point that diverged counts as the worst score of all optimizers, and so does one that ends far above where runs begin:
    whether a loss of 1e20 still became infinite is luck, and would decide a mean by itself.
    """
    first = [run.curve[1][0] for optimizer in optimizers for run in optimizer.runs if not run.diverged]
    far = _FAR * float(np.median(first)) if first and np.median(first) > 0 else np.inf
    scores = {
        optimizer.name: [np.nan if t.diverged or t.score > far else t.score for t in optimizer.sweep]
        for optimizer in optimizers
        if optimizer.sweep
    }
    finite = [score for sweep in scores.values() for score in sweep if np.isfinite(score)]
    return {name: expected_best(sweep, worst=max(finite), name=name) for name, sweep in scores.items() if finite}


def _doubling(total: int) -> tuple[int, ...]:
    return tuple(sorted({*(2**i for i in range(total.bit_length()) if 2**i <= total), total} - {0}))


def _chances(total: int, k: int) -> Array:
    """The chance that the i-th smallest of ``total`` scores is the best of a random subset of ``k``."""
    below = np.arange(total - 1, -1, -1)  # how many scores stand behind the i-th
    return np.exp(_log_choose(below, k - 1) - _log_choose(total, k))


def _log_choose(n: ArrayLike, k: int) -> Array:
    """log C(n, k), minus infinity where k is larger than n."""
    n = np.asarray(n, dtype=float)
    held = np.maximum(n, k)
    return np.where(n < k, -np.inf, gammaln(held + 1) - gammaln(k + 1) - gammaln(held - k + 1))
