"""The target and the steps to it: nothing that missed is dropped, and a target that tells nothing is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.comparison._judge import ConfirmationRun, OptimizerRuns, steps_to, target_of
from ravine.errors import ComparisonError


def test_the_target_is_the_median_of_the_best_losses(make_optimizer):
    target = target_of(make_optimizer("adam", [[1.0, 0.3, 0.9], [1.0, 0.5, 0.4], [1.0, 0.8, 0.7]]))
    assert target.loss == 0.4
    assert target.sentence == (
        "The target is a validation loss of 0.4: the lowest that at least half of 3 runs of adam reached."
    )


def test_a_diverged_reference_stands_last_and_half_of_them_give_no_target(make_optimizer):
    assert target_of(make_optimizer("adam", [[0.3], [0.5], None])).loss == 0.5
    with pytest.raises(ComparisonError, match="2 of 4 runs of the reference adam diverged"):
        target_of(make_optimizer("adam", [[0.3], [0.5], None, None]))
    with pytest.raises(ComparisonError, match="no confirmation runs"):
        target_of(make_optimizer("adam"))


def test_the_first_step_at_or_below_the_target_counts_and_misses_stay(make_optimizer):
    optimizer = make_optimizer("adam", [[0.9, 0.5, 0.6], [0.9, 0.8, 0.4], [0.9, 0.9, 0.9], None])
    found = steps_to(0.5, [optimizer])["adam"]
    assert [found.steps[s] for s in (0, 1)] == [200, 300]
    assert np.isnan(found.steps[2])
    assert np.isnan(found.steps[3])
    assert found.missed == {2, 3}
    assert found.diverged == {3}
    assert found.median == np.inf  # half of them: the middle lies between 300 and never
    assert found.values.bounded == {2, 3}
    assert np.exp(found.values.numbers[2]) == pytest.approx(300)
    assert found.values.resolution == pytest.approx((100 / 200 + 100 / 300) / 2)
    assert found.sentence == "adam reached the target in 2 of 4 runs; 1 of the others diverged."
    assert steps_to(0.8, [optimizer])["adam"].sentence.startswith("adam reached the target in 2 of 4 runs")


def test_a_run_that_met_the_target_and_then_diverged_is_a_miss():
    runs = [
        ConfirmationRun(0, [1, 2], [0.1, np.nan], np.nan, diverged=True),
        ConfirmationRun(1, [1, 2], [0.9, 0.2], 0.2),
    ]
    found = steps_to(0.5, [OptimizerRuns("sgd", (), runs)])["sgd"]
    assert found.missed == found.diverged == {0}


def test_the_horizon_is_that_of_all_arms(make_optimizer):
    optimizers = [make_optimizer("a", [[1.0, 0.9]]), make_optimizer("b", [[1.0, 0.9, 0.8, 0.1]])]
    assert steps_to(0.5, optimizers)["a"].values.numbers[0] == pytest.approx(np.log(400))


def test_a_target_met_at_once_by_all_is_refused_and_by_all_but_one_is_not(make_optimizer):
    fast, slow = make_optimizer("a", [[0.4, 0.3], [0.5, 0.2]]), make_optimizer("b", [[0.4, 0.3], [0.6, 0.2]])
    with pytest.raises(ComparisonError, match=r"0\.5 is degenerate: every run meets it at its first evaluation"):
        steps_to(0.5, [fast])
    assert steps_to(0.5, [fast, slow])["b"].steps == {0: 100, 1: 200}
    with pytest.raises(ComparisonError, match="no run with a curve"):
        steps_to(0.5, [OptimizerRuns("c")])


curves = st.lists(st.floats(0, 10), min_size=1, max_size=8)


@given(st.lists(curves, min_size=1, max_size=6), st.floats(0, 10))
def test_every_run_is_a_hit_or_a_miss_and_a_hit_is_the_first(found, target):
    runs = [ConfirmationRun(i, np.arange(1, len(c) + 1), c, c[-1]) for i, c in enumerate(found)]
    if all(c[0] <= target for c in found):
        with pytest.raises(ComparisonError):
            steps_to(target, [OptimizerRuns("x", (), runs)])
        return
    met = steps_to(target, [OptimizerRuns("x", (), runs)])["x"]
    for seed, curve in enumerate(found):
        if seed in met.missed:
            assert min(curve) > target
        else:
            at = int(met.steps[seed])
            assert curve[at - 1] <= target < min([*curve[: at - 1], np.inf])
