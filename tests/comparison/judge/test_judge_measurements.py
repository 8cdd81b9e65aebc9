"""What was measured: what is accepted, what is refused, and what is read off it."""

import numpy as np
import pytest

from ravine.comparison._judge import FreshRun, OptimizerRuns, TuningTrial
from ravine.comparison._judge.measurements import by_name
from ravine.errors import ComparisonError


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
        FreshRun(**{"seed": 3, "steps": [1, 2], "losses": [1.0, 0.5], "score": 0.5, **change})


def test_a_diverged_run_needs_no_numbers():
    run = FreshRun(0, [], [], float("nan"), diverged=True)
    assert run.diverged
    assert np.isnan(run.start)


def test_a_trial_without_a_score_has_diverged():
    with pytest.raises(ComparisonError, match="not marked diverged"):
        TuningTrial({"lr": 0.1}, 0, float("nan"))


def test_a_seed_or_a_trial_or_a_name_twice_is_refused(make_run):
    with pytest.raises(ComparisonError, match="seed 1"):
        OptimizerRuns("adam", (), [make_run(1, [1.0]), make_run(1, [2.0])])
    with pytest.raises(ComparisonError, match="twice"):
        OptimizerRuns("adam", [TuningTrial({"lr": 1}, 0, 1.0), TuningTrial({"lr": 1}, 0, 2.0)])
    with pytest.raises(ComparisonError, match="same name"):
        by_name([OptimizerRuns("adam"), OptimizerRuns("adam")])


def test_a_run_starts_at_step_0_or_nobody_knows_where(make_run):
    assert make_run(0, [2.3, 0.5]).start == 2.3
    assert np.isnan(FreshRun(0, [100, 200], [2.3, 0.5], 0.5).start)


def test_a_tuning_is_as_good_as_its_best_point(make_optimizer):
    optimizer = make_optimizer("adam", tunings=[[0.3, 0.2, None], [0.5, 0.6, 0.4], [None, None, None]])
    assert optimizer.tuned == [0.2, 0.4, np.inf]


def test_the_typical_point_has_the_median_rate(make_optimizer):
    points = [{"lr": rate} for rate in (0.3, 0.001, 0.1)]
    assert make_optimizer("adam", [0.5, 0.6, 0.7], points=points).typical == {"lr": 0.1}
    assert make_optimizer("adam").typical == {}
