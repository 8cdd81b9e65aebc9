"""Numbers between 0 and 1 over tasks, against scipy, NumPy, and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._across import improvement_of
from ravine.comparison._across.shares import mean_share

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("hits", "runs"), [(0, 5), (3, 5), (5, 5), (7, 20), (1, 2)])
def test_a_share_has_wilsons_interval(hits, runs):
    found = mean_share([np.repeat([1.0, 0.0], [hits, runs - hits])])
    low, high = stats.binomtest(hits, runs).proportion_ci(0.95, method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((hits / runs, low, high), abs=1e-6)


def test_over_tasks_the_ends_are_put_together_by_their_squares():
    tasks = [np.array([1.0, 0, 0, 1, 1]), np.ones(4)]
    single = [mean_share([task]) for task in tasks]
    found = mean_share(tasks)
    below = np.sqrt(sum((one.value - one.low) ** 2 for one in single)) / 2
    assert found.value == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - below)
    assert found.high == pytest.approx(0.8 + (single[0].high - 0.6) / 2)


def test_improvement_is_the_statistic_of_mann_and_whitney():
    one, other = np.round(RNG.normal(size=6), 1), np.round(RNG.normal(size=9), 1)
    found = improvement_of([{"a": one, "b": other}], "a", "b")
    assert found.value == pytest.approx(stats.mannwhitneyu(one, other).statistic / 54)
    back = improvement_of([{"a": one, "b": other}], "b", "a")
    assert (back.value, back.low, back.high) == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))


def test_its_interval_is_all_that_it_is_not_too_far_from():
    """Newcombe's fifth: the ends are where the distance is z standard errors, by his formula."""
    one, other = np.arange(5.0), np.arange(7.0) - 2.5
    found = improvement_of([{"a": one, "b": other}], "a", "b")
    z, n = stats.norm.ppf(0.975), (5 + 7) / 2
    for end in (found.low, found.high):
        spread = end * (1 - end) / 35 * (1 + (n - 1) * ((1 - end) / (2 - end) + end / (1 + end)))
        assert abs(end - found.value) == pytest.approx(z * np.sqrt(spread), rel=1e-5)


def test_runs_that_are_all_better_leave_a_doubt():
    found = improvement_of([{"a": np.arange(5.0) + 9, "b": np.arange(5.0)}] * 2, "a", "b")
    assert (found.value, found.high) == (1, 1)
    assert 0.6 < found.low < 0.85, "a bootstrap would say 1 to 1"


def test_improvement_is_the_papers():
    """Agarwal et al. (2021), section 4.3: of all pairs of runs, the mean of 1, 1/2 or 0; then the mean over tasks."""
    x, y = RNG.normal(size=(2, 8, 3))
    tasks = [{"a": x[:, m], "b": y[:, m]} for m in range(3)]
    won = np.mean([[[x[i, m] > y[j, m] for i in range(8)] for j in range(8)] for m in range(3)])
    assert improvement_of(tasks, "a", "b").value == pytest.approx(won)
    by_hand = [
        {"a": np.array([1.0, 3, 5]), "b": np.array([2.0, 3])},  # 0 + 0, 1 + 1/2, 1 + 1 of six pairs
        {"a": np.array([0.0, 0]), "b": np.array([0.0, 1])},  # 1/2 + 0, twice, of four
    ]
    assert improvement_of(by_hand, "a", "b").value == pytest.approx((3.5 / 6 + 1 / 4) / 2)


@pytest.mark.parametrize(("runs", "shift"), [(5, 0.0), (5, 3.0), (10, 1.0)])
def test_intervals_hold_the_truth_at_least_as_often_as_they_say(runs, shift):
    rng, studies, hits = np.random.default_rng(1), 400, 0
    truth = np.mean([stats.norm.cdf(shift / np.sqrt(2)), 0.5])
    for _ in range(studies):
        shared = 0.6 * rng.normal(size=(2, 1, runs))
        noise = 0.8 * rng.normal(size=(2, 2, runs)) + shared
        tasks = [{"a": noise[0, 0] + shift, "b": noise[0, 1]}, {"a": noise[1, 0], "b": noise[1, 1]}]
        found = improvement_of(tasks, "a", "b")
        hits += found.low <= truth <= found.high
    assert hits / studies >= 0.93
