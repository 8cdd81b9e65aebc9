"""How many seeds it takes to see a difference of a given size.

Three questions, three conventions, each measured by simulation in the tests:

- before anything was run (:func:`planned_seeds`): two groups whose spread is known from elsewhere; the normal
  approximation of every textbook. A gap of 0.5 at a spread of 0.35 needs 8 seeds. Known to be one or two short for
  the t-test that is run in the end.
- the spread of the paired differences is known (:func:`seeds_needed`): exact power of the paired t-test.
- that spread is an estimate from a few seeds (:func:`seeds_needed` with ``seeds``): the n whose power is right on
  average over what the estimate may be, as in Stein's two stages (1945, https://doi.org/10.1214/aoms/1177731088),
  but for the t-test with all n seeds in the end. Putting the estimate where the truth belongs gives a power of 0.68
  to 0.71 after 5 seeds instead of 0.8, because n grows with the square of a number that is often too small; this
  gives 0.80 to 0.85, more only where the seeds at hand are nearly enough already.
"""

import math

import numpy as np
from scipy import stats

from ravine.errors import OptionError

MOST = 1_000_000
"""No count of seeds is said to be larger: beyond it, it means never."""


def power_of(difference: float, spread: float, n: int, *, alpha: float = 0.05) -> float:
    """The chance that a paired two-sided t-test at level ``alpha`` with ``n`` seeds sees the difference.

    ``spread`` is the standard deviation of the paired differences. Noncentral t distribution, exact.
    """
    if spread == 0:
        return 1.0 if difference else alpha
    critical, shift = stats.t.ppf(1 - alpha / 2, n - 1), abs(difference) / spread * math.sqrt(n)
    # The wrong side, mirrored: scipy's cdf has NaN far out. Beyond a shift of 3 it is nothing.
    wrong_side = stats.nct.sf(critical, n - 1, -shift) if shift < 3 else 0.0
    return float(stats.nct.sf(critical, n - 1, shift) + wrong_side)


def planned_seeds(difference: float, sigma: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Seeds for each optimizer to plan with, from the standard deviation of one optimizer's runs.

    Two independent groups of the same known spread, normal approximation: n = 2 (z + z')^2 (sigma / difference)^2.
    """
    _check(difference, sigma, alpha, power)
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    return _at_most(2 * (z * sigma / difference) ** 2)


def seeds_needed(
    difference: float, spread: float, *, seeds: int | None = None, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Seeds in all with which a paired t-test at level ``alpha`` sees the difference with this power.

    Args:
        difference: the smallest true mean difference that must not be overlooked.
        spread: standard deviation of the paired differences.
        seeds: how many differences ``spread`` was estimated from; None if it is known.
        alpha, power: as they are called everywhere; ``alpha`` after correction for the number of pairs.

    Raises:
        OptionError: the difference is zero, or a number is impossible.
    """
    _check(difference, spread, alpha, power)

    def enough(n: int) -> bool:
        if seeds is None or spread == 0:
            return power_of(difference, spread, n, alpha=alpha) >= power
        # With Z normal and s the estimate, the t-test sees it if Z + sqrt(n) difference / sigma > critical, that is
        # (critical - Z) / (s / sigma) < sqrt(n) difference / s; and the left side is noncentral t.
        critical = stats.t.ppf(1 - alpha / 2, n - 1)
        return bool(stats.nct.sf(math.sqrt(n) * abs(difference) / spread, seeds - 1, critical) <= 1 - power)

    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)
    low, high = 1, _at_most((z * spread / difference) ** 2)  # a little too few, or with few seeds too many
    while high < MOST and not enough(high):
        low, high = high, high + high // 4 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return min(high, MOST)


def _at_most(n: float) -> int:
    return min(max(2, math.ceil(n)), MOST) if np.isfinite(n) else MOST


def _check(difference: float, spread: float, alpha: float, power: float) -> None:
    if not (math.isfinite(difference) and difference != 0):
        raise OptionError(f"No number of seeds shows a difference of {difference}: it must be a number other than 0.")
    if not (math.isfinite(spread) and spread >= 0):
        raise OptionError(f"The spread {spread} is not a number of at least 0.")
    if not (0 < alpha < 1 and 0 < power < 1):
        raise OptionError(f"alpha={alpha} and power={power} must lie between 0 and 1.")
