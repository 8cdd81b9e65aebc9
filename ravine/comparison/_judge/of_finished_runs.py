"""Metrics of the test set, which runs that diverged do not have: each pair of optimizers over the seeds where neither diverged.

What a run would have shown that was never trained to its end nobody knows. Any number for it that others give, such as the
worst that is shown, would make what is said of two optimizers depend on a third.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import scipy

from ravine.comparison._judge.critical_values import critical_values
from ravine.comparison._judge.limited_differences import limited_t
from ravine.comparison._judge.measurements import Array
from ravine.comparison._judge.with_best import WithBest, with_best, with_best_of_pairs


def with_best_of_finished(
    values: Mapping[str, Array], *, looks: Sequence[int] = (), alpha: float = 0.05
) -> WithBest | None:
    """As ``with_best``, for values that are NaN where a run diverged; without such the same.

    Each pair is compared over all its runs at the level of the last look. That is the level of every look, so the chance of
    a wrong statement over all of them is still at most about alpha.

    Returns:
        The comparison of those with two values or more; None where there are fewer than two of them.
    """
    if all(np.isfinite(each).all() for each in values.values()):
        return with_best(values, looks=looks, alpha=alpha)
    names = sorted(name for name, each in values.items() if np.isfinite(each).sum() > 1)
    if len(names) < 2:
        return None
    arrays = [values[name] for name in names]
    plan = tuple(looks) or (min(map(len, arrays)),)
    there = sorted(map(len, arrays))[-2]  # both optimizers of at least one pair have so many
    done = max(sum(n <= there for n in plan), 1)
    arrays = [each[: plan[done - 1]] for each in arrays]
    shape = (len(names), len(names))
    means = np.array([np.nanmean(each) for each in arrays])
    middle, error = means[:, None] - means, np.full(shape, np.inf)  # nothing is known of a pair without two seeds
    t, freedom = np.zeros(shape), np.ones(shape)
    for i, j in combinations(range(len(names)), 2):
        n = min(len(arrays[i]), len(arrays[j]))
        both = np.stack([arrays[i][:n], arrays[j][:n]], axis=1)
        both = both[np.isfinite(both).all(axis=1)]
        if len(both) > 1:
            at = np.ix_([i, j], [i, j])
            middle[at], error[at], t[at], _ = limited_t(both)
            freedom[i, j] = freedom[j, i] = len(both) - 1
    level = scipy.stats.t.sf(critical_values(len(names), plan, alpha)[:, done - 1], plan[done - 1] - 1)
    runs = [int(np.isfinite(each).sum()) for each in arrays]
    found = with_best_of_pairs(
        names, means.tolist(), runs, middle, error, t, freedom, scipy.stats.norm.isf(level), margin=0.0, alpha=alpha
    )
    return replace(found, looks=plan[:done])
