"""What was measured: what is accepted, what is refused, and how a run without a number is counted."""

import numpy as np
import pytest

from ravine.comparison._judge import LOSS, ConfirmationRun, Metric, OptimizerRuns, TuningTrial, values_of
from ravine.errors import ComparisonError

ACCURACY = Metric("accuracy", higher_is_better=True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"losses": [1.0]}, "shape"),
        ({"steps": [2, 2]}, "do not rise"),
        ({"steps": [-1, 2]}, "do not rise"),
        ({"losses": [1.0, np.nan]}, "not marked diverged"),
        ({"score": np.inf}, "not marked diverged"),
        ({"steps": [], "losses": []}, "empty"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(change, text):
    with pytest.raises(ComparisonError, match=text):
        ConfirmationRun(**{"seed": 3, "steps": [1, 2], "losses": [1.0, 0.5], "score": 0.5, **change})


def test_a_diverged_run_needs_no_numbers():
    assert ConfirmationRun(0, [], [], float("nan"), diverged=True).diverged


def test_a_trial_without_a_score_has_diverged():
    with pytest.raises(ComparisonError, match="not marked diverged"):
        TuningTrial({"lr": 0.1}, 0, float("nan"))


def test_a_seed_or_a_trial_twice_is_refused(make_run):
    with pytest.raises(ComparisonError, match="seed 1"):
        OptimizerRuns("adam", (), [make_run(1, [1.0]), make_run(1, [2.0])])
    with pytest.raises(ComparisonError, match="twice"):
        OptimizerRuns("adam", [TuningTrial({"lr": 1}, 0, 1.0), TuningTrial({"lr": 1}, 0, 2.0)])


def test_the_chosen_point_has_the_least_mean_among_those_tried_most_often():
    sweep = [TuningTrial({"lr": lr}, 0, score) for lr, score in ((1, 0.10), (2, 0.20), (3, 0.30), (4, 0.05))]
    again = [TuningTrial({"lr": lr}, s, score) for lr, score in ((1, 0.6), (2, 0.3)) for s in (1, 2)]
    optimizer = OptimizerRuns("adam", sweep + again)
    assert optimizer.chosen.point == {"lr": 2}  # 0.27 against 0.43; the lucky 0.05 was tried once only
    assert optimizer.sweep == sweep
    assert OptimizerRuns("adam", sweep + again, point={"lr": 3}).chosen.point == {"lr": 3}
    assert OptimizerRuns("adam", [TuningTrial({"lr": 1}, 0, 0.0, diverged=True)]).chosen is None
    assert OptimizerRuns("adam").chosen is None


def test_a_point_with_a_diverged_trial_is_not_chosen():
    trials = [TuningTrial({"lr": 1}, 0, 0.1), TuningTrial({"lr": 1}, 1, 0.0, diverged=True)]
    trials += [TuningTrial({"lr": 2}, seed, 0.5) for seed in (0, 1)]
    assert OptimizerRuns("adam", trials).chosen.point == {"lr": 2}


def test_a_diverged_run_counts_as_the_worst_and_is_marked(make_optimizer):
    good = make_optimizer("a", [[2.3, 0.5], [2.1, 0.4]], metrics={"accuracy": [0.9, 0.7]})
    lost = make_optimizer("b", [[2.2, 0.6], None], metrics={"accuracy": [0.8, None]})
    losses, accuracy = values_of([good, lost]), values_of([good, lost], ACCURACY)
    assert losses["b"].numbers == {0: 0.6, 1: 2.3}  # no better than the worst first evaluation
    assert accuracy["b"].numbers == {0: 0.8, 1: 0.7}
    assert losses["b"].bounded == accuracy["b"].bounded == {1}
    assert not losses["a"].bounded


def test_a_metric_that_is_missing_is_named(make_optimizer):
    with pytest.raises(ComparisonError, match="seed 0 has no accuracy"):
        values_of([make_optimizer("a", [[1.0]])], ACCURACY)
    with pytest.raises(ComparisonError, match="every one diverged"):
        values_of([make_optimizer("a", [None])])
    with pytest.raises(ComparisonError, match="no confirmation runs"):
        values_of([make_optimizer("a")])
    with pytest.raises(ComparisonError, match="no ratio"):
        values_of([make_optimizer("a", [[1.0]], metrics={"x": [0.0]})], Metric("x", ratio=True))


def test_a_ratio_is_taken_on_the_logarithm(make_optimizer):
    optimizer = make_optimizer("a", [[1.0]], metrics={"seconds": [8.0]})
    assert values_of([optimizer], Metric("seconds", ratio=True))["a"].numbers[0] == pytest.approx(np.log(8))
    assert values_of([optimizer], LOSS)["a"].numbers[0] == 1.0
