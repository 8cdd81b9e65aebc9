"""Differences of paired runs, of which none counts for more than five usual ones.

One run far out (one that diverged, say) makes the standard error of a mean difference so large that no other run can
speak: with n runs and one of them far out, t is about 1, however large and clear the other n - 1 differences are. So
each difference is limited in size, and the paired t-statistic is that of the limited ones. The usual size is the
median of the sizes, of those that are not 0: runs that tie, as two that diverged do, say nothing of it.

What an interval holds is thereby the mean of the limited differences: the usual difference, in which runs far out count
as such, but not by how far. It is the mean difference itself where none is limited, as of normal runs next to none
is, and wherever differences are symmetric about 0. The limits lie symmetrically about no difference, and depend on
sizes only. So where optimizers are equal, and the sign of each difference is a fair coin, it still is one afterwards:
that is when a t-test keeps about its level, whatever the sizes are (Efron, 1969, Student's t-test under symmetry
conditions, JASA 64, 1278-1302). Limits about the median of the differences would not keep it: few runs lie nearer to
their own median than to the true one, and what they take for far out may be noise.

To limit what is far out, instead of leaving it out or believing it, is Winsorising (Tukey and McLaughlin, 1963,
https://www.jstor.org/stable/25049278), here not of the outermost few but at a size, as Huber's function does (1964,
https://doi.org/10.1214/aoms/1177703732), once, and about a known centre.

How many times the usual size is a choice between power and level (docs/results/limits.json). Of two optimizers that differ
by 1.2 standard deviations and both diverge in a twentieth of 20 runs, far away, the worse is found in .76, .68, .52 and
.41 of simulated studies with three, four, five and six times, and in .21 without a limit. Of two equal ones, some of whose
runs diverge, one is called worse in at most .063, .059, .057 and .055 of the studies, whatever the number of runs, and in
at most .055 without a limit. Five is the least of them with nearly the level of a t-test.
"""

import numpy as np
from numpy.typing import NDArray

from ravine.comparison._judge.critical_values import t_statistics
from ravine.comparison._judge.measurements import Array

#: How many times the usual size a difference may count for.
MOST = 5.0


def usual_size(differences: Array) -> Array:
    """The median size of those that are not 0, over the first axis; infinite if all are."""
    sizes = np.sort(np.abs(differences), axis=0)  # zeros first
    runs, others = len(sizes), np.count_nonzero(sizes, axis=0)
    middle = [runs - others + (others - 1) // 2, runs - others + others // 2]
    lower, upper = np.take_along_axis(sizes, np.minimum(middle, runs - 1), axis=0)
    usual: Array = np.where(others, (lower + upper) / 2, np.inf)
    return usual


def far_from_others(values: Array) -> NDArray[np.bool_]:
    """Which runs of one optimizer lie farther from their median than five times the usual difference between two of them.

    For runs that are no pairs, of which none is limited: it is only said. Of 4 runs or fewer none can be told to be far out.
    """
    one, other = np.triu_indices(len(values), 1)
    usual = usual_size(values[one] - values[other])
    away: NDArray[np.bool_] = np.abs(values - np.median(values)) > MOST * usual
    return away


def limited_t(values: Array) -> tuple[Array, Array, Array, Array]:
    """The mean limited difference, its standard error and the t-statistic of every pair of columns, and who is far out.

    Args:
        values: (runs, optimizers), at least two runs; the rows are paired.

    Returns:
        Three arrays (optimizers, optimizers), row minus column, where without any noise t is 0 or infinite; and how many
        runs of each column are far out: their difference to the best of the other columns is limited, and they are farther
        from their column's median than that one's run is from its own.
    """
    one, other = values[:, :, None], values[:, None, :]
    difference, size = one - other, np.maximum(np.abs(one), np.abs(other))
    # what rounding leaves of equal numbers is no difference
    difference[np.abs(difference) <= 1e-14 * size] = 0.0
    limit = MOST * usual_size(difference)
    limited = np.clip(difference, -limit, limit)
    mean = limited.mean(0)
    itself = np.arange(len(mean))
    best = np.where(np.eye(len(mean), dtype=bool), -np.inf, mean).argmax(1)  # of the others
    away = np.abs(values - np.median(values, axis=0))
    far_out = ((limited != difference)[:, itself, best] & (away >= away[:, best])).sum(0)
    return *t_statistics(mean, limited.var(0, ddof=1) / len(values), size.max(0)), far_out
