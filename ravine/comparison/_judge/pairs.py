"""Two optimizers on the same seeds: the difference, how sure it is, and what it would take to be sure.

Only differences on the same seed are looked at: the same initial weights and order of data cancel out. The test is
the paired t-test and the interval is its inversion, so that the two never disagree. Not the bootstrap: with the 5 to
10 seeds that a comparison has, its 95% intervals hold the truth in 81 to 90 of 100 simulations (percentile and BCa,
normal to skewed differences), those of t in 92 to 96 (tests/comparison/judge/test_judge_coverage.py).

Many pairs are corrected together by Holm (1979, https://www.jstor.org/stable/4615733). Which optimizer is best is not known
before the runs, so to compare with the best is to look at all pairs, and all of them count in the correction: counting
only those with the best would call one of eight equal optimizers worse in 11 of 100 comparisons instead of 5.

The seeds that "would settle it" are a second look at the same question. Looking twice at a level of 0.05 is wrong in
9 to 10 of 100 ties; a study that may be given more seeds should be judged with ``alpha=0.025`` both times. And a
difference that was not shown looks smaller than it is, so the seeds for the observed one are on the safe side: about
twice as many as needed in simulations, with a power of 0.9. ``smallest`` says what is worth seeing, and is exact.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ravine.comparison._judge.measurements import LOSS, Array, Metric
from ravine.comparison._judge.pair import Kind, Pair
from ravine.comparison._judge.values import Values
from ravine.errors import ComparisonError, OptionError, nearest

_ROUNDING = 1e-7
"""Losses are float32: a difference of that share of them is rounding, however often it repeats."""


def interval(
    differences: ArrayLike, *, confidence: float = 0.95, resolution: float = 0.0, method: str = "t"
) -> tuple[float, float]:
    """An interval that holds the true mean difference with this confidence.

    Args:
        differences: one for each seed, at least two.
        confidence: the rate at which it holds the truth.
        resolution: the least that the spread is taken to be (``t`` only).
        method: ``t``, or scipy's bootstrap ``percentile`` or ``bca`` for those who must have them; see above for
            what they are worth with few seeds.
    """
    d = np.asarray(differences, dtype=float)
    if method == "t":
        half = stats.t.ppf((1 + confidence) / 2, d.size - 1) * _spread(d, resolution) / np.sqrt(d.size)
        return float(d.mean() - half), float(d.mean() + half)
    if method not in ("percentile", "bca"):
        raise OptionError(f"There is no interval {method!r}. {nearest(method, ['t', 'percentile', 'bca'])}")
    if np.ptp(d) == 0:  # nothing to draw from, and scipy's BCa divides by it
        return float(d[0]), float(d[0])
    bootstrapped = stats.bootstrap(
        (d,), np.mean, confidence_level=confidence, method=method, rng=np.random.default_rng(0)
    )
    return float(bootstrapped.confidence_interval.low), float(bootstrapped.confidence_interval.high)


def p_value(differences: ArrayLike, *, resolution: float = 0.0) -> float:
    """The two-sided paired t-test of no difference; ``resolution`` is the least that the spread is taken to be.

    The resolution guards against numbers that come in steps: if every seed of one optimizer met the target one evaluation
    earlier, the differences have no spread at all, and the plain test would be sure of it after two seeds.
    """
    d = np.asarray(differences, dtype=float)
    spread = _spread(d, resolution)
    if spread == 0:
        return float(d.mean() == 0)
    return float(2 * stats.t.sf(abs(d.mean()) / spread * np.sqrt(d.size), d.size - 1))


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p-values: those at or below alpha are shown, with a family-wise error of at most alpha."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def compare(
    values: Mapping[str, Values],
    metric: Metric = LOSS,
    *,
    against: str | None = None,
    smallest: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> list[Pair]:
    """Every optimizer against one: a verdict for each pair, best optimizer first.

    Args:
        values: one number for each run of each optimizer (:func:`~ravine.comparison._judge.values_of`, or ``.values`` of
            :func:`~ravine.comparison._judge.steps_to`).
        metric: what the numbers are.
        against: the optimizer that all others are held against; None takes the one of best mean, and corrects for all
            pairs, since the data chose it.
        smallest: the smallest difference of interest, which "more seeds" must be able to show (for a ratio: the
            smallest number of times, such as 1.1); None takes the observed one.
        alpha, power: of the whole family, and of the comparison that "more seeds" would make.

    Raises:
        ComparisonError: two optimizers share fewer than two seeds.
        OptionError: there is no optimizer ``against``, or ``smallest`` is not a difference.
    """
    ranked = sorted(values, key=lambda name: values[name].mean * (-1 if metric.higher_is_better else 1))
    if against is None:
        base, family = ranked[0], list(combinations(ranked, 2))
    else:
        if against not in values:
            raise OptionError(f"There is no optimizer {against!r} to compare with. {nearest(against, values)}")
        base, family = against, [(name, against) for name in ranked if name != against]
    pairs = compare_pairs(values, family, metric, smallest=smallest, alpha=alpha, power=power)
    if against is None:
        pairs = [pair.reversed for pair in pairs if pair.first == base]
    return pairs


def compare_pairs(
    values: Mapping[str, Values],
    family: Sequence[tuple[str, str]],
    metric: Metric = LOSS,
    *,
    smallest: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> list[Pair]:
    """The verdict on each of these pairs of optimizers, corrected together; arguments as for :func:`compare`."""
    if not family:
        return []
    _check(smallest, metric)
    shared, differences, floors = [], [], []
    for first, second in family:
        seeds = sorted(values[first].numbers.keys() & values[second].numbers.keys())
        if len(seeds) < 2:
            raise ComparisonError(f"{first} and {second} have {len(seeds)} seeds in common; two are the least.")
        shared.append(tuple(seeds))
        a, b = values[first].at(seeds), values[second].at(seeds)
        differences.append(a - b)
        rounding = _ROUNDING * (1.0 if metric.ratio else max(np.abs(a).max(), np.abs(b).max()))
        floors.append(max((values[first].resolution + values[second].resolution) / 2, rounding))
    raw = [p_value(d, resolution=floor) for d, floor in zip(differences, floors, strict=True)]
    adjusted = holm(raw)
    level = alpha / max(1, int(np.sum(adjusted > alpha)))  # what the next p-value has to stay below
    pairs = []
    for (first, second), seeds, d, floor, p, q in zip(family, shared, differences, floors, raw, adjusted, strict=True):
        mean, spread = float(d.mean()), _spread(d, floor)
        kind: Kind = "no difference shown"
        if q <= alpha:
            kind = "better" if (mean > 0) == metric.higher_is_better else "worse"
        low, high = interval(d, resolution=floor) if d.any() else (0.0, 0.0)  # the same in every seed
        pairs.append(
            Pair(
                first,
                second,
                metric,
                seeds,
                difference=mean,
                low=low,
                high=high,
                spread=spread,
                p=p,
                adjusted=float(q),
                kind=kind,
                level=level,
                power=power,
                smallest=smallest,
                first_bounded=len(values[first].bounded.intersection(seeds)),
                second_bounded=len(values[second].bounded.intersection(seeds)),
                bound=_bound((values[first], values[second]), seeds, metric),
            )
        )
    return pairs


def _bound(pair: Sequence[Values], seeds: Sequence[int], metric: Metric) -> float | None:
    """What the runs are counted as that missed the target or diverged; None if there are none."""
    bounds = [one.numbers[seed] for one in pair for seed in seeds if seed in one.bounded]
    return None if not bounds else float(np.exp(bounds[0]) if metric.ratio else bounds[0])


def _spread(differences: Array, resolution: float) -> float:
    return max(float(differences.std(ddof=1)), resolution)


def _check(smallest: float | None, metric: Metric) -> None:
    if smallest is None:
        return
    if not np.isfinite(smallest) or smallest <= (1 if metric.ratio else 0):
        wanted = "a number of times above 1" if metric.ratio else "a number above 0"
        raise OptionError(f"The smallest difference of interest in {metric.name} is {wanted}, not {smallest}.")
