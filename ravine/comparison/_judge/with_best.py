"""Multiple comparisons with the best: who may be the best, who is not, who is as good within a margin.

For every optimizer one interval, of its value minus the best of the others' (lower is better; Hsu, 1984,
https://doi.org/10.1214/aos/1176346732), here from paired differences of unequal spread, of which none counts for more than
five usual ones (``limited_differences.py``). The verdict is read off the intervals and is nowhere decided again, so the
two cannot disagree. Only what the numbers do not know is told by :meth:`WithBest.with_diverged`:

    nowhere below 0              not the best (found by stepping down; its interval begins at 0 or above)
    the only one that is         the best
    otherwise                    may be the best
    wholly below the margin      as good as the best, within the margin
    none of its runs ended       diverged in every run

All intervals of a study hold together with a chance of 1 - alpha, over all looks at it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from numbers import Real
from typing import Literal

import numpy as np
import scipy

from ravine.comparison._judge.critical_values import critical_values, critical_values_of_many, t_statistics
from ravine.comparison._judge.limited_differences import limited_t
from ravine.comparison._judge.measurements import Array
from ravine.errors import ComparisonError, OptionError, shown

Verdict = Literal["best", "may be the best", "not the best", "diverged in every run"]
TOP = ("best", "may be the best")
_LEAST_SIZE, _MOST_SIZE = 1e-140, 1e140
_MOST_MORE = 1000  # runs that are worth talking about
_GOOD_CHANCE = 0.84  # normal quantile: a chance of .8


@dataclass(frozen=True)
class Standing:
    """Where an optimizer stands.

    Attributes:
        name: the optimizer.
        mean: of its runs, whatever they are.
        difference, low, high: its value minus the best of the others', and the interval of that; of pairs, as the mean of
            limited differences, so it need not be the difference of the means.
        verdict: what follows from it, unless no run ended.
        equivalent: whether it is as good as the best, within the margin.
        runs: how many runs it had when it was last looked at.
        far_out: how many of these are so far from the best of the others that they count as less far.
    """

    name: str
    mean: float
    difference: float
    low: float
    high: float
    verdict: Verdict
    equivalent: bool
    runs: int
    far_out: int = 0


@dataclass(frozen=True, repr=False)
class WithBest:
    """What a study says of all its optimizers, in one quantity.

    Attributes:
        standings: of each optimizer, best first: those that may be the best, by their difference to the best of the others,
            then the others, those that diverged in every run last; but see :meth:`with_last`.
        margin: the largest difference that does not matter.
        looks: how many runs there were at each look so far.
        alpha: the chance that any interval, or any verdict, is wrong.
        settled: whether more runs could change no verdict: all is known up to the margin.
        more: how many more runs would settle it, with a chance of .8, if spreads and differences are what they look
            like; None if more than 1,000, 0 if it is settled.
        pairs: first minus second and the ends of its interval, by the two names; all of them hold together, too.
    """

    standings: Sequence[Standing]
    margin: float
    looks: tuple[int, ...]
    alpha: float
    settled: bool
    more: int | None
    pairs: Mapping[tuple[str, str], tuple[float, float, float]]

    def __repr__(self) -> str:
        state = "settled" if self.settled else "not settled"
        return f"WithBest({len(self.top)} of {len(self.standings)} may be the best; {self.looks[-1]} runs, {state})"

    @property
    def top(self) -> list[str]:
        """Those that may be the best, in the order of the standings; empty where all that might be diverged in every run."""
        return [s.name for s in self.standings if s.verdict in TOP]

    @property
    def best(self) -> str | None:
        """The one that is the best; None where several may be, or nobody."""
        return next((s.name for s in self.standings if s.verdict == "best"), None)

    @property
    def others(self) -> list[str]:
        """Those that are not the best, in the same order."""
        return [s.name for s in self.standings if s.verdict == "not the best"]

    @property
    def diverged(self) -> list[str]:
        """Those that diverged in every run, in the same order."""
        return [s.name for s in self.standings if s.verdict == "diverged in every run"]

    def standing(self, name: str) -> Standing:
        """Where the optimizer of that name stands."""
        return next(s for s in self.standings if s.name == name)

    def with_diverged(self, names: Collection[str]) -> "WithBest":
        """The same where these optimizers diverged in every run: that is their verdict, whatever their intervals are.

        A run that diverged counts as the loss that it began with, which may be lower than where the runs of others end.
        """
        gone: Verdict = "diverged in every run"
        told = [replace(s, verdict=gone, equivalent=False) if s.name in names else s for s in self.standings]
        left = sum(s.verdict in TOP for s in told)
        if not left:  # nobody is as good as a best that is none
            told = [replace(s, equivalent=False) for s in told]
        found = replace(self, standings=sorted(told, key=_order))
        return found if left > 1 else replace(found, settled=True, more=0)  # there are no two to be told apart

    def without_verdict(self) -> "WithBest":
        """The same before it was planned to look: anybody may be the best, and nothing is known of what is settled."""
        unknown: Verdict = "may be the best"
        standings = [replace(s, verdict=unknown, equivalent=False) for s in self.standings]
        return replace(self, standings=standings, settled=False, more=None)

    def with_last(self, names: Collection[str]) -> "WithBest":
        """The same, but with these optimizers behind the others, except one that alone is the best: that is the answer."""
        return replace(
            self, standings=sorted(self.standings, key=lambda s: (s.verdict != "best" and s.name in names, _order(s)))
        )

    @property
    def by_difference(self) -> bool:
        """Whether the standings are sorted by their differences, none of them moved behind others."""
        return list(self.standings) == sorted(self.standings, key=_order)


def with_best(
    values: Mapping[str, Array], *, looks: Sequence[int] = (), margin: float = 0.0, alpha: float = 0.05
) -> WithBest:
    """Compare optimizers with the best of them.

    Args:
        values: a number for each run by optimizer, lower is better; run i of all optimizers is a pair. An optimizer
            that is not the best after one look needs no runs for the next.
        looks: how many runs each look had, planned before the first; () is one look at all runs. An optimizer with fewer
            runs has no part in a look, and a look with fewer than two is left out: that it was planned is paid for.
        margin: the largest difference that does not matter.
        alpha: the chance of any wrong statement, over all optimizers and looks.

    Raises:
        ComparisonError: fewer than two optimizers or runs; a value is not finite; looks do not rise; an optimizer lacks
            runs that it must have.
    """
    arrays = {name: np.asarray(v, dtype=float) for name, v in values.items()}
    plan = tuple(looks) or (min((len(a) for a in arrays.values()), default=0),)
    _check(arrays, plan, margin)
    names = sorted(arrays)
    if any(len(a) < plan[0] for a in arrays.values()):
        short = min(names, key=lambda name: len(arrays[name]))
        raise ComparisonError(f"{short} has {len(arrays[short])} runs; the first look needs {plan[0]}.")
    critical = critical_values(len(names), plan, alpha)
    low = np.full((len(names), len(names)), -np.inf)  # of row minus column
    middle, high = np.zeros_like(low), np.full_like(low, np.inf)
    candidates, runs, outlying, done = list(range(len(names))), [0] * len(names), [0] * len(names), 0
    for look, n in enumerate(plan):
        taking_part = [i for i in candidates if len(arrays[names[i]]) >= n]
        if len(taking_part) < 2:
            break
        done, absent = look + 1, [i for i in candidates if i not in taking_part]
        difference, error, t, outside = limited_t(np.stack([arrays[names[i]][:n] for i in taking_part], axis=1))
        at = np.ix_(taking_part, taking_part)
        reach = np.where(error > 0, critical[len(names), look] * error, 0.0)
        low[at], middle[at], high[at] = difference - reach, difference, difference + reach
        candidates = sorted([*_step_down(taking_part, t, critical[:, look], len(absent)), *absent])
        for i, far_out in zip(taking_part, outside, strict=True):
            runs[i], outlying[i] = n, int(far_out)
        if len(candidates) == 1 or _highest(high, candidates)[candidates].max() <= margin:
            break
    means = [float(arrays[name][:n].mean()) for name, n in zip(names, runs, strict=True)]
    judgement = _read_off(names, means, runs, (low, middle, high), candidates, margin, plan[:done], alpha, outlying)
    if judgement.settled:
        return judgement
    same = min(runs[i] for i in candidates)
    left = np.stack([arrays[names[i]][:same] for i in candidates], 1)
    return replace(judgement, more=_more(left, margin, critical[len(names), done - 1]))


def with_best_unpaired(values: Mapping[str, Array], *, margin: float = 0.0, alpha: float = 0.05) -> WithBest:
    """The same for runs that are no pairs, and of which there may be more of one optimizer than of another.

    Differences are judged as Welch (1947) does. The critical value is that of many runs, turned into the t of the degrees
    of freedom that each pair has.

    Raises:
        ComparisonError: fewer than two optimizers, fewer than two runs of one; a value is not finite.
    """
    arrays = {name: np.asarray(v, dtype=float) for name, v in values.items()}
    names = sorted(arrays)
    runs = [len(arrays[name]) for name in names]
    _check(arrays, (min(runs, default=2),), margin)
    means = np.array([arrays[name].mean() for name in names])
    parts = np.array([arrays[name].var(ddof=1) / n for name, n in zip(names, runs, strict=True)])
    square = parts[:, None] + parts
    weight = parts**2 / (np.array(runs) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(square > 0, square**2 / (weight[:, None] + weight), 1.0)
    of_pairs = (*t_statistics(means[:, None] - means, square, means[:, None]), freedom)
    critical = critical_values_of_many(len(names), alpha)
    return with_best_of_pairs(names, means.tolist(), runs, *of_pairs, critical, margin=margin, alpha=alpha)


def with_best_of_pairs(
    names: Sequence[str],
    means: Sequence[float],
    runs: Sequence[int],
    middle: Array,
    error: Array,
    t: Array,
    freedom: Array,
    critical: Array,
    *,
    margin: float,
    alpha: float,
) -> WithBest:
    """The same from the difference of every pair, row minus column, its standard error, their ratio and degrees of freedom.

    ``critical`` has the values that a normal statistic must exceed, by how many may still be the best.
    """
    level = scipy.stats.norm.sf(critical)
    reach = np.where(error > 0, scipy.stats.t.isf(level[len(names)], freedom) * error, 0.0)
    as_normal = np.where(np.isfinite(t), scipy.stats.norm.isf(scipy.stats.t.sf(t, freedom)), t)
    candidates = _step_down(list(range(len(names))), as_normal, critical)
    bounds = (middle - reach, middle, middle + reach)
    return _read_off(names, means, runs, bounds, candidates, margin, (min(runs),), alpha)


def _read_off(
    names: Sequence[str],
    means: Sequence[float],
    runs: Sequence[int],
    bounds: tuple[Array, Array, Array],
    candidates: list[int],
    margin: float,
    looks: tuple[int, ...],
    alpha: float,
    outlying: Sequence[int] = (),
) -> WithBest:
    """The verdict of the lower ends, differences and upper ends of all pairs, and of those that may be the best."""
    low, middle, high = bounds
    lows, middles, highs = _bound(low), _bound(middle), _highest(high, candidates)
    standings = []
    for i, name in enumerate(names):
        out = i not in candidates
        verdict: Verdict = "not the best" if out else "best" if len(candidates) == 1 else "may be the best"
        # Found by stepping down, where its own interval still touches 0: it begins there.
        least = max(float(lows[i]), 0.0) if out else float(lows[i])
        most = min(float(highs[i]), 0.0) if verdict == "best" else float(highs[i])
        outside = outlying[i] if outlying else 0
        standings.append(
            Standing(name, means[i], float(middles[i]), least, most, verdict, most <= margin, runs[i], outside)
        )
    standings.sort(key=_order)
    settled = len(candidates) == 1 or bool(highs[candidates].max() <= margin)
    pairs = {
        (a, b): (float(middle[i, j]), float(low[i, j]), float(high[i, j]))
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i != j
    }
    return WithBest(standings, margin, looks, alpha, settled, 0 if settled else None, pairs)


def _order(s: Standing) -> tuple[int, float, str]:
    place = 0 if s.verdict in TOP else 1 if s.verdict == "not the best" else 2
    return place, s.difference, s.name


def check_alpha(alpha: object) -> None:
    """Refuse what is no chance of an error.

    Raises:
        OptionError: it is not between 0 and .5.
    """
    if not isinstance(alpha, Real) or not 0 < float(alpha) < 0.5:
        raise OptionError(
            f"alpha = {shown(alpha)}: the chance of a wrong statement, above 0 and below 0.5, such as 0.05."
        )


def _step_down(names: list[int], t: Array, critical: Array, others: int = 0) -> list[int]:
    """Those that are left when the worst is removed as long as it is clearly worse than some other.

    ``others`` may be the best, too, but have no part in this look.
    """
    t = t.copy()
    np.fill_diagonal(t, -np.inf)
    worst_first = np.argsort(-t.max(1), kind="stable")
    left = list(names)
    for row in worst_first[:-1]:
        # as many as are left of all, though some have been removed at an earlier look
        if t[row].max() < critical[len(left) + others]:
            break
        left.remove(names[row])
    return left


def _bound(of_pairs: Array) -> Array:
    """The bound of each value minus the least of the others': the largest of its row."""
    of_pairs = of_pairs.copy()
    np.fill_diagonal(of_pairs, -np.inf)
    bounds: Array = of_pairs.max(1)
    return bounds


def _highest(high: Array, candidates: list[int]) -> Array:
    """The upper ends: by the best of the others, which is among those that may be the best (Edwards and Hsu, 1983).

    Only where an optimizer is itself the best of all, the best of the others may be elsewhere, and it lies below 0.
    """
    if len(candidates) == 1:
        of_best = _bound(high)[candidates]
        highest = high[:, candidates[0]].copy()
        highest[candidates] = of_best
        return highest
    among = np.full_like(high, -np.inf)
    among[:, candidates] = high[:, candidates]
    highest = _bound(among)
    highest[candidates] = np.maximum(highest[candidates], 0.0)
    return highest


def _more(values: Array, margin: float, critical: float) -> int | None:
    """How many more runs would settle it, if differences and spreads are what they look like.

    The critical value of other numbers of runs is that of a t-test at the level that this one has now.
    """
    now = len(values)
    difference, error, _, _ = limited_t(values)
    best = int(_bound(difference).argmin())
    others = [j for j in range(values.shape[1]) if j != best]
    gap, spread = np.abs(difference[best, others]), error[best, others] * np.sqrt(now)
    reach = np.outer(_reach_of_more(critical, now), spread)
    settles = np.all((gap > reach) | (gap + reach <= margin), axis=1)
    return int(settles.argmax()) + 1 if settles.any() else None


@lru_cache(maxsize=64)
def _reach_of_more(critical: float, now: int) -> Array:
    """How far an interval would reach with 1, 2, ... more runs, where the spread of a difference is 1."""
    level = scipy.stats.t.sf(critical, now - 1)
    then = now + np.arange(1, _MOST_MORE + 1)
    reach: Array = (scipy.stats.t.isf(level, then - 1) + _GOOD_CHANCE) / np.sqrt(then)
    return reach


def _check(arrays: Mapping[str, Array], looks: tuple[int, ...], margin: float) -> None:
    if len(arrays) < 2:
        raise ComparisonError("There is nothing to compare: it takes at least two optimizers.")
    if any(b <= a for a, b in pairwise(looks)) or looks[0] < 2:
        raise ComparisonError(f"looks = {list(looks)}: numbers of runs that rise, the first at least 2.")
    if not (np.isfinite(margin) and margin >= 0):
        raise ComparisonError(f"margin = {margin}: a finite number, 0 or more.")
    for name, values in arrays.items():
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ComparisonError(f"The values of {name} are not one finite number for each run.")
    size = max(float(np.abs(values).max(initial=0.0)) for values in arrays.values())
    if size and not _LEAST_SIZE < size < _MOST_SIZE:
        raise ComparisonError(
            f"The values are about {size:.0e}: their squares are beyond what a number holds. Scale them, or compare their "
            "logarithms."
        )
