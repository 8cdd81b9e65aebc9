"""Score against budget: the exact expectation and quantiles against every subset, one by one."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.comparison._judge import budget_of, expected_best
from ravine.errors import ComparisonError

scores = st.lists(st.one_of(st.integers(0, 4).map(float), st.floats(0, 9), st.just(np.nan)), min_size=1, max_size=9)


@settings(deadline=None)
@given(scores.filter(lambda s: not np.isnan(s).all()), st.sampled_from([0.5, 0.8, 0.9]))
def test_it_is_the_mean_and_the_quantiles_over_all_subsets(given_scores, coverage):
    total = len(given_scores)
    curve = expected_best(given_scores, range(1, total + 1), coverage=coverage)
    filled = np.where(np.isnan(given_scores), np.nanmax(given_scores), given_scores)
    for i, k in enumerate(curve.points):
        best = np.array([min(subset) for subset in combinations(filled, k)])
        lost = np.mean([np.isnan(subset).all() for subset in combinations(given_scores, k)])
        assert curve.expected[i] == pytest.approx(best.mean(), abs=1e-9)
        assert curve.lost[i] == pytest.approx(lost, abs=1e-9)
        assert np.mean((best >= curve.low[i]) & (best <= curve.high[i])) >= coverage - 1e-9
        assert np.mean(best < curve.low[i]) <= (1 - coverage) / 2 + 1e-9
        assert np.mean(best > curve.high[i]) <= (1 - coverage) / 2 + 1e-9


@given(scores.filter(lambda s: not np.isnan(s).all()))
def test_more_points_are_never_worse_and_all_points_give_the_best(given_scores):
    curve = expected_best(given_scores)
    assert np.all(np.diff(curve.expected) <= 1e-9)
    assert curve.points[-1] == len(given_scores)
    assert curve.expected[-1] == curve.low[-1] == curve.high[-1] == pytest.approx(np.nanmin(given_scores))


def test_points_double_and_a_large_sweep_is_exact():
    assert expected_best(np.arange(16)).points == (1, 2, 4, 8, 16)
    assert expected_best(np.arange(22)).points == (1, 2, 4, 8, 16, 22)
    big = expected_best(np.arange(1, 2001), [1, 10, 2000])  # the least of k of 1..N is (N + 1) / (k + 1) on average
    assert big.expected == pytest.approx([1000.5, 2001 / 11, 1], rel=1e-9)


def test_against_drawing_at_random():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=16)
    drawn = [rng.choice(values, 4, replace=False).min() for _ in range(20_000)]
    assert expected_best(values, [4]).expected[0] == pytest.approx(np.mean(drawn), abs=0.005)


def test_a_diverged_point_is_the_worst_of_all_arms(make_optimizer):
    optimizers = [make_optimizer("a", tuning={0.1: 1.0, 1.0: None}), make_optimizer("b", tuning={0.1: 5.0, 1.0: 4.0})]
    curves = budget_of([*optimizers, make_optimizer("c")])
    assert curves.keys() == {"a", "b"}
    assert curves["a"].expected == pytest.approx([3.0, 1.0])  # (1 + 5) / 2
    assert curves["a"].lost == pytest.approx([0.5, 0.0])
    assert curves["a"].sentence == (
        "a: expected best loss 3 after 1 trial, 1 after 2 trials."
    )  # fmt: skip


def test_a_point_far_above_where_runs_begin_counts_as_one_that_diverged(make_optimizer):
    runs = [[2.0, 0.5], [2.2, 0.6]]
    exploded = make_optimizer("a", runs, tuning={0.1: 1.0, 1.0: 1e20, 2.0: 6.0})
    diverged = make_optimizer("a", runs, tuning={0.1: 1.0, 1.0: None, 2.0: 6.0})
    curves = [budget_of([optimizer])["a"] for optimizer in (exploded, diverged)]
    assert curves[0].expected == pytest.approx(curves[1].expected)
    assert curves[0].lost == pytest.approx([1 / 3, 0, 0])
    assert curves[0].worst == 6.0


def test_impossible_budgets_and_empty_sweeps_are_refused():
    for points in ([0], [3], []):
        with pytest.raises(ComparisonError, match="between 1 and the 2 points"):
            expected_best([1.0, 2.0], points)
    with pytest.raises(ComparisonError, match="None of the 2 points of adam has a score"):
        expected_best([np.nan, np.inf], name="adam")
    assert expected_best([np.nan, np.inf], worst=3.0).expected == pytest.approx([3.0, 3.0])
    with pytest.raises(ComparisonError):
        expected_best([], worst=1.0)


def test_the_sentence_says_where_nine_tenths_are_reached():
    curve = expected_best([0.3, 0.31, 0.3, 0.32, 2.3, 2.3, 0.33, 0.34], name="adam")
    assert curve.sentence == (
        "adam: expected best loss 0.812 after 1 trial, 0.3 after 8 trials; 4 trials bring 90% of the gain."
    )
    assert expected_best([0.5], name="sgd").sentence == "sgd was tried at one point only: 0.5."
