"""How large a paired t-statistic must be before it says anything, among so many optimizers and after so many looks.

The optimizers that may still be the best are the set I, at first all of them. One leaves it if its largest
t-statistic, over all others, exceeds the critical value: the quantile of

    T(I) = the largest t(i, j) for i in I, j any other optimizer

where all optimizers are equal. Found by simulating normal runs of equal spread, of which next to none is far out, from a
fixed seed, so that the same question has the same answer everywhere. A bootstrap of the studentised maximum, which would take
spreads from the data, is not needed: at spreads of 1:10 simulated levels hold with these (docs/results/verdicts.json), and of
5 or 10 runs it would resample next to nothing. The values fall with I, which is what makes a step-down test (Romano and
Wolf, 2005, https://doi.org/10.1198/016214504000000539): the chance that any of the truly best is ever removed stays
below alpha.

Several looks at growing data are paid for at a constant level (Pocock, 1977): all have the same chance, chosen so that
the chance that any of them errs is alpha. Looks depend on each other, and the simulation knows how much.
"""

from functools import lru_cache

import numpy as np
import scipy

from ravine.comparison._judge.measurements import Array

_STUDIES, _BLOCK = 60_000, 2_000
_MOST_RUNS = 200  # simulated of a look; beyond, a t-statistic is a normal one


def paired_t(values: Array) -> tuple[Array, Array, Array]:
    """The mean difference, its standard error and the t-statistic of every pair of columns.

    Args:
        values: (..., runs, optimizers), at least two runs; the rows are paired.

    Returns:
        Three arrays (..., optimizers, optimizers): row minus column. Without any noise t is 0 or infinite.
    """
    runs = values.shape[-2]
    mean = values.mean(-2)
    centred = values - mean[..., None, :]
    product = np.swapaxes(centred, -1, -2) @ centred / (runs - 1)
    variance = np.diagonal(product, axis1=-2, axis2=-1)
    of_difference = variance[..., :, None] + variance[..., None, :] - 2 * product
    rounding = 1e-12 * (variance[..., :, None] + variance[..., None, :])
    square = np.where(of_difference > rounding, of_difference, 0.0) / runs
    return t_statistics(mean[..., :, None] - mean[..., None, :], square, mean[..., :, None])


def t_statistics(difference: Array, square: Array, size: Array) -> tuple[Array, Array, Array]:
    """Differences, their errors and t of all pairs, from the differences, the squares of the errors, and how large values are.

    What rounding leaves of equal numbers is neither noise nor a difference.
    """
    difference = np.where(np.abs(difference) > 1e-14 * np.abs(size), difference, 0.0)
    error = np.sqrt(np.where(square > 1e-28 * size**2, square, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(difference == 0, 0.0, difference / error)
    return difference, error, t


@lru_cache(64)
def critical_values(optimizers: int, looks: tuple[int, ...], alpha: float = 0.05) -> Array:
    """The critical value by how many may still be the best (row, from 0 to ``optimizers``) and by look (column).

    Args:
        optimizers: how many are compared, at least 2.
        looks: how many runs of each there are at each look, rising, at least 2.
        alpha: the chance of any error, over all sets and looks.
    """
    if optimizers == 2 and len(looks) == 1:  # a paired t-test, exactly
        one, two = (float(scipy.stats.t.ppf(1 - alpha / sides, looks[0] - 1)) for sides in (1, 2))
        return np.array([[one], [one], [two]])
    largest = _largest(optimizers, looks)
    studies = largest.shape[-1]
    values = np.empty((optimizers + 1, len(looks)))
    for among in range(1, optimizers + 1):
        statistic = largest[:, among - 1]
        ordered = np.sort(statistic, axis=1)
        # The most unusual look of each study, as a rank; the rank that a share alpha of studies exceed is the level.
        ranks = statistic.argsort(1).argsort(1).max(0)
        values[among] = ordered[:, np.sort(ranks)[int(np.ceil((1 - alpha) * studies)) - 1]]
    values[0] = values[1]
    return values


@lru_cache(64)
def critical_values_of_many(optimizers: int, alpha: float = 0.05) -> Array:
    """The same for one look at so many runs that a t-statistic is a normal one, by how many may still be the best."""
    if optimizers == 2:
        one, two = (float(scipy.stats.norm.isf(alpha / sides)) for sides in (1, 2))
        return np.array([one, one, two])
    z = np.random.default_rng(0).standard_normal((_STUDIES, optimizers))
    ordered = np.sort(z, axis=1)
    least = np.where(z == ordered[:, :1], ordered[:, 1:2], ordered[:, :1])  # of the others
    largest = np.maximum.accumulate((z - least) / np.sqrt(2), axis=1)
    values = np.quantile(largest, 1 - alpha, axis=0)
    return np.concatenate([values[:1], values])


@lru_cache(4)
def _largest(optimizers: int, looks: tuple[int, ...]) -> Array:
    """T of the first 1, 2, ... of equal optimizers, by look: (looks, optimizers, studies)."""
    rng = np.random.default_rng(0)
    runs = [min(n, _MOST_RUNS) for n in looks]
    result = np.empty((len(looks), optimizers, _STUDIES))
    for start in range(0, _STUDIES, _BLOCK):
        values = rng.standard_normal((_BLOCK, runs[-1], optimizers))
        for look, n in enumerate(runs):
            t = paired_t(values[:, :n])[2]
            t[:, range(optimizers), range(optimizers)] = -np.inf
            result[look, :, start : start + _BLOCK] = np.maximum.accumulate(t.max(2), axis=1).T
    return result
