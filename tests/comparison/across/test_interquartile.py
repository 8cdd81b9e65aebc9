"""Interquartile means over tasks, against scipy, NumPy, and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._across import Resampling, interquartile_means


def means(tasks, **options):
    return interquartile_means(tasks, Resampling([[len(v) for v in t.values()] for t in tasks], **options))


def test_it_is_the_trimmed_mean():
    rng = np.random.default_rng(0)
    tasks = [{"a": rng.exponential(size=8), "b": rng.normal(size=8)} for _ in range(3)]
    for name, found in means(tasks, resamples=10).items():
        scores = np.concatenate([task[name] for task in tasks])
        assert found.value == pytest.approx(stats.trim_mean(scores, 0.25))


def test_a_quarter_of_the_weight_is_left_out_at_each_end():
    """Six runs: one and a half are left out at each end, so the middle is (b / 2 + c + d + e / 2) / 3."""
    assert means([{"a": np.array([100.0, 3, 4, 8, 7, -50])}], resamples=10)["a"].value == pytest.approx(
        (3 / 2 + 4 + 7 + 8 / 2) / 3
    )


def test_every_task_weighs_the_same():
    few, many = np.array([0.0, 0.0]), np.ones(200)
    assert means([{"a": few}, {"a": many}], resamples=10)["a"].value == pytest.approx(0.5)


def test_tasks_that_lie_apart_have_one_middle():
    """All 60 runs are put together before a quarter is left out at each end, as Agarwal et al. (2021) do."""
    scores = np.random.default_rng(0).normal(size=(20, 3)) + np.arange(3)
    found = means([{"a": scores[:, m]} for m in range(3)], resamples=10)["a"]
    assert found.value == pytest.approx(np.sort(scores.ravel())[15:45].mean())


def test_with_many_runs_the_interval_is_the_papers():
    """Percentiles of runs that are drawn again within each task; with 40 runs the corrections are small."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 3)) + 0.3 * np.arange(3)
    drawn = [[rng.choice(scores[:, m], 40) for m in range(3)] for _ in range(2000)]
    low, high = np.quantile([stats.trim_mean(np.concatenate(each), 0.25) for each in drawn], [0.025, 0.975])
    found = means([{"a": scores[:, m]} for m in range(3)])["a"]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize(
    ("level", "spread", "runs", "least"),
    [
        ((0.8, 0.9), (0.1, 0.1), 5, 0.92),
        ((0.8, 0.9), (0.1, 0.1), 20, 0.92),
        ((0.3, 0.6, 0.9, 0.9), (0.05, 0.2, 0.1, 0.01), 5, 0.92),
        ((0.5, 0.9), (0.05, 0.2), 5, 0.88),  # the middle half is a half of each, and five runs have no good middle
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(level, spread, runs, least):
    rng, studies = np.random.default_rng(1), 400

    def drawn(n):
        return [{"a": v + s * rng.normal(size=n)} for v, s in zip(level, spread, strict=True)]

    truth, hits = means(drawn(200_000), resamples=1)["a"].value, 0
    for study in range(studies):
        found = means(drawn(runs), resamples=500, seed=study)["a"]
        hits += found.low <= truth <= found.high
    assert least <= hits / studies <= 0.99
