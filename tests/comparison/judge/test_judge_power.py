"""How many seeds: the protocol's table, and that n seeds have the power that is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ravine.comparison._judge import planned_seeds, power_of, seeds_needed
from ravine.errors import OptionError


@pytest.mark.parametrize(("gap", "sigma", "n"), [(0.5, 0.35, 8), (0.5, 0.64, 26), (0.2, 0.25, 25)])
def test_the_table_of_the_protocol(gap, sigma, n):
    assert planned_seeds(gap, sigma) == n


def simulated_power(rng, gap, spread, n, alpha, repeats=4000):
    p = stats.ttest_1samp(gap + spread * rng.standard_normal((repeats, n)), 0.0, axis=1).pvalue
    return np.mean(p <= alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize("gap", [0.4, 0.7, 1.2])
def test_with_a_known_spread_n_seeds_have_the_power_and_one_fewer_has_not(gap, alpha):
    n = seeds_needed(gap, 1.0, alpha=alpha)
    power = simulated_power(np.random.default_rng(0), gap, 1.0, n, alpha)
    assert abs(power - power_of(gap, 1.0, n, alpha=alpha)) < 0.02
    assert power_of(gap, 1.0, n - 1, alpha=alpha) < 0.8 <= power_of(gap, 1.0, n, alpha=alpha)


@pytest.mark.parametrize(
    ("first", "gap", "alpha"), [(5, 0.4, 0.05), (10, 0.4, 0.05), (5, 0.6, 0.05 / 6), (10, 0.6, 0.05 / 6)]
)
def test_with_a_spread_from_a_few_seeds_the_comparison_run_in_the_end_has_the_power(first, gap, alpha):
    rng = np.random.default_rng(0)
    shown = []
    for _ in range(800):
        d = gap + rng.standard_normal(first)
        n = seeds_needed(gap, d.std(ddof=1), seeds=first, alpha=alpha)
        d = np.concatenate([d, gap + rng.standard_normal(max(n - first, 0))])
        t = d.mean() / d.std(ddof=1) * np.sqrt(d.size)
        shown.append(2 * stats.t.sf(abs(t), d.size - 1) <= alpha)
    assert 0.76 < np.mean(shown) < 0.88  # 0.80 to 0.84 and three standard errors


def test_a_spread_put_in_as_if_it_were_known_would_promise_too_much():
    rng = np.random.default_rng(0)
    spreads = np.sqrt(rng.chisquare(4, 400) / 4)
    assert np.mean([power_of(0.6, 1.0, seeds_needed(0.6, spread)) for spread in spreads]) < 0.74


@settings(deadline=None)
@given(st.floats(0.05, 5), st.integers(2, 40), st.sampled_from([0.05, 0.01, 0.0018]))
def test_power_grows_with_seeds_and_lies_between_alpha_and_one(gap, n, alpha):
    less, more = power_of(gap, 1.0, n, alpha=alpha), power_of(gap, 1.0, n + 1, alpha=alpha)
    assert alpha - 1e-9 <= less <= more + 1e-9 <= 1 + 1e-8


@pytest.mark.parametrize("shift", [1, 6, 12, 21, 40, 1000])
def test_power_of_two_seeds_and_a_large_difference_is_right(shift):
    # Two seeds: t is the ratio of two normals, and its power can be drawn.
    z, x = np.random.default_rng(0).standard_normal((2, 200_000))
    drawn = np.mean(np.abs((z + shift) / x) > stats.t.ppf(0.975, 1))
    assert power_of(shift / np.sqrt(2), 1.0, 2) == pytest.approx(drawn, abs=0.005)


def test_what_can_never_be_seen_has_a_ceiling_and_what_is_impossible_is_refused():
    assert seeds_needed(1e-9, 1.0) == seeds_needed(1e-9, 1.0, seeds=5) == planned_seeds(1e-9, 1.0) == 1_000_000
    assert seeds_needed(1.0, 0.0) == seeds_needed(1.0, 0.0, seeds=4) == 2
    for wrong in ((0.0, 1.0), (np.nan, 1.0), (1.0, -1.0), (1.0, np.inf)):
        with pytest.raises(OptionError):
            seeds_needed(*wrong)
    with pytest.raises(OptionError):
        planned_seeds(1.0, 1.0, power=1.0)
