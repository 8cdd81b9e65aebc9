"""Every optimizer against the best over all tasks, and the ranks that follow from the intervals.

Of each pair the difference on a task is that of paired runs; over the tasks it is their mean, every task weighing the
same. Its error is that of independent samples, with the degrees of freedom of Welch (1947) and Satterthwaite (1946). So
the intervals are about *these* tasks with other seeds.

Where the tasks themselves are taken as a sample, ``with_best`` of the task means answers for tasks like these: with as
many values as there are tasks it hardly ever says anything for fewer than five, and that is the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy

from ravine.comparison._judge.critical_values import critical_values
from ravine.comparison._judge.measurements import Array
from ravine.comparison._judge.with_best import WithBest, with_best_of_pairs
from ravine.errors import ComparisonError

_MOST_MORE = 1000  # seeds that are worth talking about
_MOST_FREEDOM = 199.0  # beyond, critical values hardly change
_GOOD_CHANCE = 0.84  # normal quantile: a chance of .8


def with_best_over_tasks(
    tasks: Sequence[Mapping[str, Array]], *, looks: Sequence[int] = (), margin: float = 0.0, alpha: float = 0.05
) -> WithBest:
    """Compare optimizers with the best of them, over these tasks.

    Args:
        tasks: of each task a value for each run by optimizer, lower is better; run i of all optimizers is a pair. One with
            fewer runs is compared on those that it has.
        looks: after how many runs each task was looked at, as planned; () is one look. With several, optimizers drop out of
            a task by what its data say, so the level is that of a study with as many looks.
        margin: the largest difference that does not matter.
        alpha: the chance of any wrong statement.

    Raises:
        ComparisonError: fewer than two optimizers, or fewer than two runs; tasks have other optimizers.
    """
    names = sorted(tasks[0]) if tasks else []
    if len(names) < 2 or any(sorted(task) != names for task in tasks):
        raise ComparisonError("Over several tasks at least two optimizers are compared, the same on each.")
    if any(len(values) < 2 for task in tasks for values in task.values()):
        raise ComparisonError("Over several tasks every optimizer needs at least two runs on each.")
    shape = (len(tasks), len(names), len(names))
    difference, square, runs = np.zeros(shape), np.zeros(shape), np.full(shape, 2.0)
    for m, task in enumerate(tasks):
        for i, one in enumerate(names):
            for j, other in enumerate(names[:i]):
                n = min(len(task[one]), len(task[other]))
                of_runs = np.asarray(task[one], float)[:n] - np.asarray(task[other], float)[:n]
                mean, variance = float(of_runs.mean()), float(of_runs.var(ddof=1))
                difference[m, i, j], difference[m, j, i] = mean, -mean
                size = float(np.abs(task[one][:n]).max())
                square[m, i, j] = square[m, j, i] = variance / n if variance > 1e-24 * size**2 else 0.0
                runs[m, i, j] = runs[m, j, i] = n
    middle, total = difference.mean(0), square.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(total > 0, total**2 / (square**2 / (runs - 1)).sum(0), 1.0)
        error = np.sqrt(total) / len(tasks)
        t = np.where(middle == 0, 0.0, middle / error)
    means = [float(np.mean([np.mean(task[name]) for task in tasks])) for name in names]
    most = [max(len(task[name]) for task in tasks) for name in names]
    # the fewest of all pairs: each is only estimated, and one that came out high would make its interval too narrow
    freedom = np.full_like(freedom, np.clip(freedom[total > 0].min(initial=_MOST_FREEDOM), 1.0, _MOST_FREEDOM))
    critical = _critical(len(names), float(freedom[0, 0]), tuple(looks), alpha)
    judgement = with_best_of_pairs(names, means, most, middle, error, t, freedom, critical, margin=margin, alpha=alpha)
    if judgement.settled:
        return judgement
    left = [names.index(name) for name in judgement.top]
    at = np.ix_(range(len(tasks)), left, left)
    return replace(
        judgement,
        more=_more(difference[at], (square * runs)[at], runs[at], margin, float(scipy.stats.norm.sf(critical[-1]))),
    )


def _critical(optimizers: int, freedom: float, looks: tuple[int, ...], alpha: float) -> Array:
    """What a normal statistic must exceed, by how many may still be the best.

    With few degrees of freedom the largest of many t-statistics is larger than a normal one of the same level says, so the
    level is that of as many paired runs as have such a freedom. Several looks lower it as they do in a study of one task.
    """
    level = _level(optimizers, (int(freedom) + 1,), alpha)
    if len(looks) > 1:
        level = level * _level(optimizers, looks, alpha) / _level(optimizers, looks[-1:], alpha)
    values: Array = scipy.stats.norm.isf(level)
    return values


def _level(optimizers: int, looks: tuple[int, ...], alpha: float) -> Array:
    """The one-sided level of the critical values of the last look, by how many may still be the best."""
    level: Array = scipy.stats.t.sf(critical_values(optimizers, looks, alpha)[:, -1], looks[-1] - 1)
    return level


def _more(difference: Array, variance: Array, runs: Array, margin: float, level: float) -> int | None:
    """How many more seeds on each task would settle it, if differences and spreads are what they look like."""
    best = int(difference.mean((0, 2)).argmin())
    others = [j for j in range(difference.shape[1]) if j != best]
    gap = np.abs(difference.mean(0)[best, others])
    then = runs[:, best, others, None] + np.arange(1, _MOST_MORE + 1)
    parts = variance[:, best, others, None] / then
    total = parts.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(total > 0, total**2 / (parts**2 / (then - 1)).sum(0), 1.0)
    reach = (scipy.stats.t.isf(level, freedom) + _GOOD_CHANCE) * np.sqrt(total) / len(runs)
    settles = np.all((gap[:, None] > reach) | (gap[:, None] + reach <= margin), axis=0)
    return int(settles.argmax()) + 1 if settles.any() else None


def ranks_of(judgement: WithBest) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each optimizer may have, all ranks together at the confidence of the intervals.

    One that is surely worse than three others is at best fourth (Mogstad, Romano, Shaikh and Wilhelm, 2024,
    https://doi.org/10.1093/restud/rdad006). 1 is the best.
    """
    names = [standing.name for standing in judgement.standings]
    ranks = {}
    for name in names:
        ends = [judgement.pairs[name, other][1:] for other in names if other != name]
        worse, better = sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends)
        first = 1 + worse if name in judgement.top else max(2, 1 + worse)
        ranks[name] = (first, max(first, len(names) - better))
    return ranks
