"""Do the intervals hold the truth as often as they say? Measured, and the reason that they are not the bootstrap's."""

import numpy as np
import pytest

from ravine.comparison._judge import interval
from ravine.errors import OptionError

#: Differences as comparisons have them: normal; heavy tails; two losses with tails of their own; a skewed one.
DRAWS = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "t3": (lambda rng, n: rng.standard_t(3, size=n), 0.0),
    "lognormals": (lambda rng, n: rng.lognormal(0, 0.5, n) - rng.lognormal(0, 0.25, n), np.exp(0.125) - np.exp(1 / 32)),
    "gamma": (lambda rng, n: rng.gamma(2, size=n), 2.0),
}


def coverage(draw, truth, n, repeats, **options):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(repeats):
        low, high = interval(draw(rng, n), **options)
        held += low <= truth <= high
    return held / repeats


@pytest.mark.parametrize("n", [5, 7, 10])
@pytest.mark.parametrize("name", DRAWS)
def test_the_interval_holds_the_truth_at_its_rate(name, n):
    draw, truth = DRAWS[name]
    rate = coverage(draw, truth, n, 3000)
    lowest = 0.905 if name == "gamma" else 0.92  # a paired difference is seldom as skewed as a gamma
    assert lowest < rate < 0.975
    if name == "normal":
        assert abs(rate - 0.95) < 0.012  # three standard errors


def test_another_confidence_is_kept_too():
    assert abs(coverage(DRAWS["normal"][0], 0.0, 6, 3000, confidence=0.8) - 0.8) < 0.022


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_the_bootstrap_covers_too_seldom_with_few_seeds(method):
    draw, truth = DRAWS["normal"]
    assert coverage(draw, truth, 5, 250, method=method) < 0.9
    assert coverage(draw, truth, 10, 250, method=method) < 0.94


def test_a_spread_of_zero_has_an_interval_and_an_unknown_method_none():
    for method in ("t", "percentile", "bca"):
        assert interval([0.5, 0.5, 0.5], method=method) == (0.5, 0.5)
    with pytest.raises(OptionError, match="bca"):
        interval([1.0, 2.0], method="bcs")
