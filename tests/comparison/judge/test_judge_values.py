"""One number for each run: what a run counts as that diverged, or that trained nothing, and which runs are a pair."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge import LOSS, FreshRun, Metric, OptimizerRuns, Values, compare_losses, values_of
from ravine.comparison._judge.values import LEAST, paired
from ravine.errors import ComparisonError

ACCURACY = Metric("accuracy", higher_is_better=True)


def test_a_diverged_run_counts_as_its_start_and_so_does_one_that_ends_above_it(make_optimizer):
    found = values_of(
        [make_optimizer("a", [[2.3, 0.5], [2.1, 0.4, 9.0], [2.2, 0.9]]), make_optimizer("b", [0.6, None])]
    )
    assert found["a"].numbers == {0: 0.5, 1: 2.1, 2: 0.9}
    assert found["b"].numbers == {0: 0.6, 1: 2.0}
    assert (found["a"].bounded, found["b"].bounded) == (set(), {1})


def test_a_third_optimizer_changes_nothing_of_two(make_optimizer):
    rng = np.random.default_rng(0)
    two = [make_optimizer("a", [*rng.normal(0.5, 0.01, 9), None]), make_optimizer("b", rng.normal(0.6, 0.01, 10))]
    numbers = [values_of(two)[name].numbers for name in "ab"]
    for third in ([None] * 10, rng.normal(0.1, 1e-3, 10), [[2.0, 1e30]] * 10):
        three = values_of([*two, make_optimizer("c", third, start=7.0)])
        assert [three[name].numbers for name in "ab"] == numbers


def test_the_interval_of_two_is_the_same_whether_a_third_diverged_or_not(make_optimizer):
    rng = np.random.default_rng(0)
    two = [make_optimizer("a", rng.normal(0.5, 0.01, 10)), make_optimizer("b", rng.normal(0.6, 0.01, 10))]
    trained, lost = (
        compare_losses([*two, make_optimizer("c", curves)]).pairs["a", "b"] for curves in ([1.0] * 10, [None] * 10)
    )
    assert trained == lost


def test_a_run_that_failed_before_it_was_measured_began_as_others_of_its_seed(make_optimizer):
    failed = OptimizerRuns("b", (), [FreshRun(1, [], [], np.nan, diverged=True), FreshRun(0, [0], [1], 1.0)])
    runs = [make_optimizer("a", [[2.3, 0.5], [2.1, 0.4]]), make_optimizer("c", [[2.3, 0.5], [2.1, 0.4]]), failed]
    assert values_of(runs)["b"].numbers == {1: 2.1, 0: 1.0}
    alone = OptimizerRuns("b", (), [FreshRun(5, [], [], np.nan, diverged=True)])
    assert values_of([runs[0], alone])["b"].numbers == {5: pytest.approx(2.2)}  # the median of the starts


def test_a_curve_without_step_0_has_no_start_to_be_measured_by():
    """Of logs that others wrote: the first epoch of a good run is no start."""
    logged = [FreshRun(i, [10, 20], [0.4, 0.45], 0.45) for i in range(3)]
    slow = [FreshRun(i, [10, 20], [2.0, 1.0], 1.0) for i in range(3)]
    lost = [FreshRun(i, [10], [0.3], np.nan, diverged=True) for i in range(3)]
    named = [OptimizerRuns(name, (), runs) for name, runs in (("a", logged), ("b", slow), ("c", lost))]
    found = values_of(named)
    assert list(found["a"].array) == [0.45] * 3
    assert list(found["c"].array) == [0.4] * 3  # the median of what curves show first, or its own first


def test_test_functions_are_compared_on_logarithms(make_optimizer):
    rng = np.random.default_rng(0)
    far = make_optimizer("far", 3e-3 * np.exp(rng.normal(0, 2, 5)))
    there = make_optimizer("there", 1e-201 * np.exp(rng.normal(0, 2, 5)))
    assert compare_losses([far, there]).top == ["there", "far"]  # the spread of far is as large as its mean
    found = compare_losses([far, there], ratio=True)
    assert found.top == ["there"]
    logarithms = np.log([run.score for run in far.runs]) - np.log(LEAST)
    wanted = stats.ttest_1samp(logarithms, 0).confidence_interval(0.95)
    assert found.pairs["far", "there"][1:] == pytest.approx([wanted.low, wanted.high])


def test_losses_that_float32_cannot_tell_apart_are_equal(make_optimizer):
    found = compare_losses([make_optimizer("a", [0.0] * 4), make_optimizer("b", [1e-30] * 4)], ratio=True)
    assert found.settled
    assert found.pairs["a", "b"] == (0, 0, 0)


def test_a_metric_of_a_diverged_run_is_not_known(make_optimizer):
    good = make_optimizer("a", [0.5, 0.4], metrics={"accuracy": [0.9, 0.7]})
    lost = make_optimizer("b", [0.6, None], metrics={"accuracy": [0.8, None]})
    assert values_of([good, lost], ACCURACY)["b"].numbers == pytest.approx({0: 0.8, 1: np.nan}, nan_ok=True)


def test_what_is_missing_is_named(make_optimizer):
    with pytest.raises(ComparisonError, match="seed 0 has no accuracy"):
        values_of([make_optimizer("a", [1.0])], ACCURACY)
    with pytest.raises(ComparisonError, match="every one diverged"):
        values_of([make_optimizer("a", [None])])
    with pytest.raises(ComparisonError, match="no fresh runs"):
        values_of([make_optimizer("a")])


class TestPairs:
    def test_runs_are_paired_by_seed_and_not_by_place(self):
        a, b = Values({0: 0.5, 1: 0.6, 2: 0.7}), Values({2: 0.71, 0: 0.51, 1: 0.61})
        arrays, left_out = paired({"a": a, "b": b})
        assert left_out == 0
        assert arrays["b"] - arrays["a"] == pytest.approx([0.01] * 3)

    def test_a_gap_leaves_that_seed_out_for_all(self):
        arrays, left_out = paired({"a": Values({0: 1.0, 1: 9.0, 2: 3.0}), "b": Values({0: 1.5, 2: 3.5})})
        assert list(arrays["a"]) == [1.0, 3.0]
        assert left_out == 1

    def test_one_that_was_stopped_early_loses_nothing_to_the_others(self):
        arrays, left_out = paired({"a": Values({4: 1.0, 2: 9.0, 3: 3.0}), "b": Values({4: 1.5, 2: 3.5})})
        assert (list(arrays["a"]), list(arrays["b"]), left_out) == ([1.0, 9.0, 3.0], [1.5, 3.5], 0)

    def test_runs_that_share_no_seed_are_paired_by_order(self):
        arrays, left_out = paired({"a": Values({0: 1.0, 1: 9.0}), "b": Values({7: 1.5, 8: 3.5})})
        assert (list(arrays["b"]), left_out) == ([1.5, 3.5], 0)


def test_the_mean_is_that_of_all_seeds():
    assert Values({0: 1.0, 1: 3.0}).mean == 2.0
    assert LOSS.name == "validation loss"
