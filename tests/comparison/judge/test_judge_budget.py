"""What few points bring: against studies of known truth, and scipy."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge import LOSS, Metric, budget_of

POINTS = (1, 2, 4, 8, 16)


def _tuned(rng, truth, noise, tunings):
    """Of each tuning the points in random order, with noisy scores: the best score, and a fresh run there, by points."""
    tuned, fresh = {k: [] for k in POINTS}, {k: [] for k in POINTS}
    for _ in range(tunings):
        order = rng.permutation(truth)
        scores = order + noise * rng.standard_normal(len(order))
        for k in POINTS:
            tuned[k].append(scores[:k].min())
            fresh[k].append(order[scores[:k].argmin()] + noise * rng.standard_normal())
    return tuned, fresh


def test_it_is_unbiased_where_the_tuned_minimum_promises_too_much(make_optimizer):
    rng, truth = np.random.default_rng(0), np.linspace(0.3, 0.4, 16)
    tuned, fresh = _tuned(rng, truth, 0.03, 4000)
    curve = budget_of([make_optimizer("a", [0.5], budget=fresh)])["a"]
    _, again = _tuned(np.random.default_rng(1), truth, 0.03, 20_000)
    wanted = np.array([np.mean(again[k]) for k in POINTS])
    assert curve.expected == pytest.approx(wanted, abs=0.0025)
    assert np.mean(tuned[16]) < wanted[-1] - 0.03


def test_intervals_hold_the_truth(make_optimizer):
    rng, truth, held = np.random.default_rng(0), np.linspace(0.3, 0.4, 16), 0
    wanted = np.array([np.mean(x) for x in _tuned(np.random.default_rng(1), truth, 0.03, 20_000)[1].values()])
    for _ in range(300):
        curve = budget_of([make_optimizer("a", [0.5], budget=_tuned(rng, truth, 0.03, 10)[1])])["a"]
        held += (curve.low <= wanted) & (wanted <= curve.high)
    assert held / 300 == pytest.approx(0.95, abs=0.04)


def test_the_interval_is_scipys(make_optimizer):
    losses = [0.5, 0.7, 0.4, 0.6]
    curve = budget_of([make_optimizer("a", [0.5], budget={2: losses})])["a"]
    wanted = stats.ttest_1samp(losses, 0).confidence_interval(0.95)
    assert (curve.low[0], curve.high[0]) == pytest.approx((wanted.low, wanted.high))
    ratio = budget_of([make_optimizer("a", [0.5], budget={2: losses})], Metric("validation loss", ratio=True))["a"]
    wanted = stats.ttest_1samp(np.log(losses), 0).confidence_interval(0.95)
    assert ratio.expected[0] == pytest.approx(stats.gmean(losses))
    assert (ratio.low[0], ratio.high[0]) == pytest.approx((np.exp(wanted.low), np.exp(wanted.high)))


def test_a_run_that_diverged_or_exploded_counts_as_the_start(make_optimizer):
    curve = budget_of([make_optimizer("a", [0.5], budget={4: [0.5, 0.6], 1: [np.inf, 1.0, 1e20]})], LOSS)["a"]
    assert curve.points == (1, 4)
    assert curve.expected == pytest.approx([(2 + 1 + 2) / 3, 0.55])
    assert curve.lost == pytest.approx([1 / 3, 0])


def test_one_that_was_not_tuned_has_no_curve(make_optimizer):
    assert budget_of([make_optimizer("a", [0.5]), make_optimizer("b", budget={1: [0.5]})]) == {}


def test_the_sentences(make_optimizer):
    curve = budget_of([make_optimizer("adam", [0.5], budget={1: [0.8123], 8: [0.3]})])["adam"]
    assert curve.sentence == "adam: a loss of 0.812 when tuned with 1 point, 0.3 with 8 points."
    curve = budget_of([make_optimizer("sgd", [0.5], budget={1: [0.5]})])["sgd"]
    assert curve.sentence == "sgd was tuned with 1 point only: 0.5."
