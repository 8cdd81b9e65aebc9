"""Performance profiles, against the definition by hand."""

import numpy as np
import pytest

from ravine.comparison._across import profiles_of

INF = np.inf
#: Two tasks with two and four seeds; the third optimizer has one run more, which nobody else has.
TASKS = [
    {"a": np.array([100.0, 200]), "b": np.array([150.0, 100]), "c": np.array([INF, 400, 1])},
    {"a": np.array([10.0, 10, 10, INF]), "b": np.array([10.0, 20, 50, INF]), "c": np.array([INF] * 4)},
]


def test_the_share_of_problems_by_ratio():
    found = profiles_of(TASKS)
    # a: 1, 2 on the first task; 1, 1, 1 and a miss on the second
    assert found["a"].at(1) == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert found["a"].at(2) == found["a"].at(100) == pytest.approx((1 + 3 / 4) / 2)
    # b: 1.5, 1; 1, 2, 5 and a miss
    assert [found["b"].at(r) for r in (0.5, 1, 1.5, 2, 4.9, 5)] == pytest.approx([0, 3 / 8, 5 / 8, 6 / 8, 6 / 8, 7 / 8])
    # c: a miss and 4; nothing
    assert [found["c"].at(r) for r in (1, 3.9, 4)] == pytest.approx([0, 0, 1 / 4])
    assert (found["a"].fastest.value, found["c"].reached.value) == (5 / 8, 1 / 4)


def test_its_area_is_the_mean_of_the_profile_from_1_to_4():
    ratios = np.linspace(1, 4, 30_001)
    for profile in profiles_of(TASKS).values():
        mean = np.trapezoid([profile.at(r) for r in ratios], ratios) / 3
        assert profile.area.value == pytest.approx(mean, abs=1e-4)
        assert profile.area.low <= profile.area.value <= profile.area.high


def test_a_problem_that_nobody_solves_is_nobodys():
    found = profiles_of([{"a": np.array([INF, 1.0]), "b": np.array([INF, 1.0])}])
    assert found["a"].fastest.value == found["b"].fastest.value == 0.5
    assert profiles_of([]) == {}
