"""Intervals of numbers between 0 and 1 over several tasks: the probability of improvement, and shares of runs.

A bootstrap fails here: of five runs that are all better than five others it can only draw such as are all better, and
gives an interval without a width. So the interval on each task is one that knows how much such numbers can vary:
Wilson's (1927) of a share, Newcombe's fifth (2006, https://doi.org/10.1002/sim.2324) of the statistic of Mann and Whitney.
The interval of the mean over tasks follows from those of the tasks (Zou and Donner, 2008,
https://doi.org/10.1002/sim.3095).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from ravine.comparison._judge.measurements import Array

_LEAST = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A number and its interval."""

    value: float
    low: float
    high: float


def mean_share(tasks: Sequence[Array], alpha: float = 0.05) -> Estimate:
    """The mean over tasks of the mean of the runs, of numbers between 0 and 1.

    Of shares, whose runs have 0 or 1, the interval on one task is Wilson's. Other numbers vary less, so theirs is too wide.
    """
    estimates = []
    for values in tasks:
        n = len(values)

        def variance(p: float, n: int = n) -> float:
            return p * (1 - p) / n

        estimates.append(_score_interval(float(values.mean()), variance, alpha))
    return _mean_of(estimates)


def improvement_of(tasks: Sequence[Mapping[str, Array]], one: str, other: str, alpha: float = 0.05) -> Estimate:
    """The probability that a run of ``one`` has a higher score than one of ``other``, the mean over the tasks.

    Any two runs, not pairs of a seed; equal scores count half (Agarwal et al., 2021, arXiv:2108.13264). On each task it is
    the statistic of Mann and Whitney (1947), divided by the number of pairs.
    """
    estimates = []
    for task in tasks:
        mine, theirs = task[one], task[other]
        share = float(np.mean(np.sign(mine[:, None] - theirs) / 2 + 0.5))
        pairs, n = len(mine) * len(theirs), (len(mine) + len(theirs)) / 2

        def variance(p: float, pairs: int = pairs, n: float = n) -> float:
            return p * (1 - p) * (1 + (n - 1) * ((1 - p) / (2 - p) + p / (1 + p))) / pairs

        estimates.append(_score_interval(share, variance, alpha))
    return _mean_of(estimates)


def _score_interval(value: float, variance: Callable[[float], float], alpha: float) -> Estimate:
    """All p for which the value is not further away than the p itself would let it be."""
    z = float(scipy.stats.norm.isf(alpha / 2))

    def beyond(p: float) -> float:
        return (p - value) ** 2 - z**2 * variance(p)

    # at 0 and at 1 nothing varies, which is no end of the interval
    within = min(max(value, _LEAST), 1 - _LEAST)
    low = 0.0 if value <= 0 else float(scipy.optimize.brentq(beyond, 0.0, within))
    high = 1.0 if value >= 1 else float(scipy.optimize.brentq(beyond, within, 1.0))
    return Estimate(value, low, high)


def _mean_of(estimates: Sequence[Estimate]) -> Estimate:
    value = float(np.mean([each.value for each in estimates]))
    below = float(np.sqrt(sum((each.value - each.low) ** 2 for each in estimates))) / len(estimates)
    above = float(np.sqrt(sum((each.high - each.value) ** 2 for each in estimates))) / len(estimates)
    return Estimate(value, max(0.0, value - below), min(1.0, value + above))
