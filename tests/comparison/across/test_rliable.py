"""Statistics over tasks, against rliable 1.2.0 (Agarwal et al., 2021, https://github.com/google-research/rliable).

The numbers are what these lines print, with NumPy 2.4.6 and pandas 2 (``arch``, which rliable imports, fails with pandas 3)::

    from rliable import library, metrics
    # run, task, a, b, STEPS as below
    rng = np.random.RandomState(0)
    iqm = lambda x: np.array([metrics.aggregate_iqm(x)])
    library.get_interval_estimates({"a": a, "b": b}, iqm, reps=20_000, random_state=rng)
    library.get_interval_estimates({"a,b": (a, b)}, metrics.probability_of_improvement, reps=20_000, random_state=rng)
    metrics.aggregate_iqm(a[:4]), metrics.aggregate_iqm(b[:4]), metrics.probability_of_improvement(a[:4], b[:4])
    ratio = STEPS / STEPS.min(2, keepdims=True)
    of = {name: -ratio[:, :, i].T for i, name in enumerate("abc")}  # rliable's scores are better where higher
    library.create_performance_profile(of, -np.array(RATIOS), reps=10)[0]
"""

import numpy as np
import pytest

from ravine.comparison._across import Resampling, improvement_of, interquartile_means, profiles_of

run, task = np.mgrid[:40, :3]
a = (7 * run + 5 * task) * 0.618034 % 1
b = (11 * run + 3 * task) * 0.754878 % 1 - 0.1 * task
#: By task, run and optimizer.
STEPS = np.array(
    [
        [[100, 130, np.inf], [90, 180, 240], [150, 120, 300]],
        [[20, 11, 40], [33, 14, 25], [17, np.inf, 19]],
    ]
)
RATIOS = [1.0001, 1.2, 1.5, 2.6, 4]


def _tasks(runs):
    return [{"a": a[:runs, m], "b": b[:runs, m]} for m in range(3)]


def _means(runs):
    return interquartile_means(_tasks(runs), Resampling([[runs, runs]] * 3))


def test_interquartile_means():
    few = _means(4)
    assert (few["a"].value, few["b"].value) == pytest.approx((0.37351566666666597, 0.3522350000000007))
    many = _means(40)
    # with 40 runs what we mend in the percentiles is small
    for name, value, low, high in (("a", 0.5014242, 0.4300807, 0.5734247), ("b", 0.4010263, 0.33100475, 0.47230811)):
        assert many[name].value == pytest.approx(value)
        assert (many[name].low, many[name].high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_probability_of_improvement():
    assert improvement_of(_tasks(4), "a", "b").value == pytest.approx(0.5104166666666666)
    found, low, high = improvement_of(_tasks(40), "a", "b"), 0.52041667, 0.66125
    assert found.value == pytest.approx(0.5917708333333334)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_performance_profiles():
    wanted = {
        "a": [0.5, 0.5, 0.66666667, 1.0, 1.0],
        "b": [0.5, 0.5, 0.66666667, 0.83333333, 0.83333333],
        "c": [0.0, 0.16666667, 0.16666667, 0.5, 0.83333333],
    }
    found = profiles_of([{name: steps[:, i] for i, name in enumerate("abc")} for steps in STEPS])
    for name, shares in wanted.items():
        assert [found[name].at(ratio) for ratio in RATIOS] == pytest.approx(shares)
