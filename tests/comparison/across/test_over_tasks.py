"""Every optimizer against the best over several tasks, against scipy, and on simulated studies of known truth."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._across import ranks_of, with_best_over_tasks
from ravine.comparison._judge import critical_values as simulation
from ravine.comparison._judge import with_best
from ravine.errors import ComparisonError

RNG = np.random.default_rng(0)


@pytest.fixture
def short_simulations(monkeypatch):
    """Critical values from a sixth of the studies: each freedom that is met here needs values of its own."""
    kept = (simulation.critical_values, simulation.critical_values_of_many, simulation._largest)
    monkeypatch.setattr(simulation, "_STUDIES", 10_000)
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


def test_on_one_task_it_is_a_paired_t_test():
    a, b = RNG.normal(size=(2, 7))
    found = with_best_over_tasks([{"a": a, "b": b}])
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.pairs["a", "b"] == pytest.approx(((a - b).mean(), low, high))


def test_on_two_tasks_it_is_welchs_test_of_the_paired_differences():
    """The mean of two means, x and y, is half the difference of x and minus y."""
    one, two = ({n: scale * RNG.normal(size=runs) for n in "ab"} for scale, runs in ((1, 6), (5, 9)))
    found = with_best_over_tasks([one, two])
    x, y = one["a"] - one["b"], two["a"] - two["b"]
    low, high = stats.ttest_ind(x, -y, equal_var=False).confidence_interval(0.95)
    assert found.pairs["a", "b"] == pytest.approx(((x.mean() + y.mean()) / 2, low / 2, high / 2))


def test_one_that_has_dropped_out_is_compared_on_the_runs_that_it_has():
    a, b = RNG.normal(size=9), RNG.normal(size=4)
    found = with_best_over_tasks([{"a": a, "b": b}])
    assert found.pairs["a", "b"][0] == pytest.approx((a[:4] - b).mean())
    assert found.standing("a").mean == pytest.approx(a.mean())
    assert (found.standing("a").runs, found.standing("b").runs) == (9, 4)


def test_what_does_not_vary_is_a_difference_without_doubt():
    ones = np.ones(3)
    found = with_best_over_tasks([{"a": ones, "b": 2 * ones, "c": ones}])
    assert found.top == ["a", "c"]
    assert found.pairs["a", "b"] == (-1, -1, -1)
    assert found.settled


def test_so_many_more_seeds_settle_it_in_most_studies():
    def study(runs):
        return [{"a": 0.5 + RNG.normal(size=runs), "b": RNG.normal(size=runs)} for _ in range(2)]

    told = [found.more for _ in range(200) if not (found := with_best_over_tasks(study(12))).settled]
    more = int(np.median([n for n in told if n is not None]))
    assert 10 < more < 150
    assert with_best_over_tasks([{"a": np.array([0.0, 1, 2]), "b": np.array([1.0, 2, 0])}]).more is None


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "at least two optimizers"),
        ([{"a": np.ones(3)}], "at least two optimizers"),
        ([{"a": np.ones(3), "b": np.ones(3)}, {"a": np.ones(3), "c": np.ones(3)}], "the same on each"),
        ([{"a": np.ones(3), "b": np.ones(1)}], "at least two runs"),
    ],
)
def test_what_cannot_be_compared(tasks, message):
    with pytest.raises(ComparisonError, match=message):
        with_best_over_tasks(tasks)


def test_ranks_are_those_that_the_intervals_leave():
    level = {"a": 0.0, "b": 0.0, "c": 5.0, "d": 9.0}
    found = with_best_over_tasks([{n: v + RNG.normal(size=10) for n, v in level.items()} for _ in range(2)])
    assert ranks_of(found) == {"a": (1, 2), "b": (1, 2), "c": (3, 3), "d": (4, 4)}


def test_one_that_is_not_the_best_has_no_first_rank():
    """Stepping down finds it, where its own interval still touches 0."""
    found = [
        with_best_over_tasks([{n: v + RNG.normal(size=6) for n, v in zip("abc", (0, 0, 1.2), strict=True)}])
        for _ in range(100)
    ]
    assert all((ranks_of(f)[n][0] == 1) <= (n in f.top) for f in found for n in "abc")


@pytest.mark.usefixtures("short_simulations")
@pytest.mark.parametrize("runs", [5, 20])
def test_verdicts_and_ranks_are_as_sure_as_they_say(runs):
    """Three tasks of very unequal noise, four optimizers of which two are tied; in full in benchmarks/many_tasks.py."""
    rng, truth, studies = np.random.default_rng(1), np.array([0.0, 0.0, 0.3, 1.0]), 600
    spread = np.array([0.1, 0.3, 1.0])
    wrong = {"covered": 0, "worse": 0, "ranks": 0, "all equal": 0}
    for _ in range(studies):
        noise = spread[:, None, None] * (0.8 * rng.normal(size=(3, 4, runs)) + 0.6 * rng.normal(size=(3, 1, runs)))
        for equal in (False, True):
            level = np.zeros(4) if equal else truth
            tasks = [dict(zip("abcd", level[:, None] + task, strict=True)) for task in noise]
            found = with_best_over_tasks(tasks)
            if equal:
                wrong["all equal"] += bool(found.others)
                continue
            gaps = {n: level[i] - np.delete(level, i).min() for i, n in enumerate("abcd")}
            wrong["covered"] += not all(s.low <= gaps[s.name] <= s.high for s in found.standings)
            wrong["worse"] += bool({"a", "b"} & set(found.others))
            wrong["ranks"] += not all(
                ranks_of(found)[n][0] <= high and low <= ranks_of(found)[n][1]
                for n, (low, high) in {"a": (1, 2), "b": (1, 2), "c": (3, 3), "d": (4, 4)}.items()
            )
    most = studies * 0.05 + 3 * np.sqrt(studies * 0.05 * 0.95)
    assert max(wrong.values()) <= most, wrong


@pytest.mark.usefixtures("short_simulations")
def test_studies_that_stop_by_looks_are_as_sure_as_they_say():
    """Five equal optimizers, each task with looks of its own: the level of one look calls too many not the best."""
    rng, looks, studies = np.random.default_rng(5), (8, 11, 14, 17, 20), 300
    wrong = {"one look": 0, "looks": 0}
    for _ in range(studies):
        tasks = []
        for _ in range(3):
            runs = dict(zip("abcde", rng.normal(size=(5, 20)), strict=True))
            tasks.append({s.name: runs[s.name][: s.runs] for s in with_best(runs, looks=looks).standings})
        wrong["one look"] += bool(with_best_over_tasks(tasks).others)
        wrong["looks"] += bool(with_best_over_tasks(tasks, looks=looks).others)
    assert wrong["looks"] <= 0.05 * studies < wrong["one look"], wrong
