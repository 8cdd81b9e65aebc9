"""Metrics that runs which diverged do not have: against scipy on the seeds that a pair shares, and against known truth."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge import Metric, judge
from ravine.comparison._judge.critical_values import critical_values
from ravine.comparison._judge.of_finished_runs import with_best_of_finished
from ravine.comparison._judge.with_best import with_best

ACCURACY = Metric("accuracy", higher_is_better=True)


def named(values):
    return {f"o{i}": column for i, column in enumerate(values.T)}


def test_a_pair_is_scipys_paired_t_test_of_the_seeds_where_neither_diverged():
    values = np.random.default_rng(0).uniform(1, 2, (9, 2))
    values[[1, 4], 0] = values[4, 1] = np.nan
    found = with_best_of_finished(named(values))
    kept = values[np.isfinite(values).all(1)]
    wanted = stats.ttest_rel(kept[:, 0], kept[:, 1]).confidence_interval(0.95)
    assert found.pairs["o0", "o1"] == pytest.approx((np.diff(-kept).mean(), wanted.low, wanted.high))
    assert {s.name: (s.runs, s.mean) for s in found.standings} == {
        "o0": (7, pytest.approx(np.nanmean(values[:, 0]))),
        "o1": (8, pytest.approx(np.nanmean(values[:, 1]))),
    }


def test_without_a_run_that_diverged_it_is_the_usual_comparison():
    values = named(np.random.default_rng(1).standard_normal((10, 3)))
    assert with_best_of_finished(values, looks=(5, 10), alpha=0.1) == with_best(values, looks=(5, 10), alpha=0.1)


def test_looks_are_paid_for_and_one_that_is_out_keeps_the_runs_that_it_had():
    values = named(np.random.default_rng(2).uniform(1, 2, (12, 3)))
    values["o2"] = values["o2"][:5]
    values["o0"][3] = np.nan
    found = with_best_of_finished(values, looks=(5, 10, 20))
    assert found.looks == (5, 10), "the third look was planned, and is paid for"
    assert [found.standing(name).runs for name in ("o0", "o1", "o2")] == [9, 10, 5]
    differences = np.delete(values["o0"][:10] - values["o1"][:10], 3)
    level = stats.t.sf(critical_values(3, (5, 10, 20))[3, 1], 9)
    wanted = differences.mean() + stats.t.isf(level, 8) * stats.sem(differences)
    assert found.pairs["o0", "o1"][2] == pytest.approx(wanted)


@pytest.mark.parametrize(("lost", "compared"), [([0, 1, 2], None), ([0, 1], None), ([0], 2)])
def test_one_with_fewer_than_two_values_is_not_compared(lost, compared):
    values = np.arange(6.0).reshape(3, 2) ** 2
    values[lost, 1] = np.nan
    found = with_best_of_finished(named(values))
    assert (found and len(found.standings)) == compared


def test_nothing_is_known_of_two_that_share_no_seed():
    a, b = np.array([1.0, 1.1, np.nan, np.nan]), np.array([np.nan, np.nan, 9.0, 9.1])
    found = with_best_of_finished({"a": a, "b": b})
    assert found.pairs["a", "b"] == (pytest.approx(-8.0), -np.inf, np.inf)
    assert found.top == ["a", "b"]


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_equal_optimizers_that_diverge_alike_are_seldom_told_apart(share):
    rng, false, studies = np.random.default_rng(3), 0, 300
    for _ in range(studies):
        values = np.where(rng.random((10, 5)) < share, np.nan, rng.standard_normal((10, 5)))
        found = with_best_of_finished(named(values))
        false += found is not None and bool(found.others)
    assert false / studies <= 0.05 + 2.33 * np.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("shown", [0.1, 0.99])
def test_what_is_said_of_two_does_not_depend_on_a_third(make_optimizer, shown):
    """Whatever is the worst that the third shows."""
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.9, 0.01, 9), rng.normal(0.8, 0.01, 10)
    optimizers = [
        make_optimizer("a", [*(1 - first), None], metrics={"accuracy": [*first, None]}),
        make_optimizer("b", 1 - second, metrics={"accuracy": second}),
        make_optimizer("c", [0.5] * 10, metrics={"accuracy": [shown] * 10}),
    ]
    judged = judge(optimizers, metrics=[ACCURACY], target=0.3)
    difference, *_ = judged.compared["accuracy"].with_best.pairs["b", "a"]
    assert difference == pytest.approx((first - second[:9]).mean())
