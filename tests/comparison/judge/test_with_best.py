"""Multiple comparisons with the best: against known truth, against scipy, and against the words of its own intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ravine.comparison._judge.critical_values import critical_values, paired_t
from ravine.comparison._judge.with_best import WithBest, check_alpha, with_best
from ravine.errors import ComparisonError, OptionError

SHAPES = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "skewed": lambda rng, size: rng.exponential(1.0, size) - 1,
    "t3": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
    "outliers": lambda rng, size: np.where(rng.random(size) < 0.05, 8.0, 1.0) * rng.standard_normal(size),
    "spread 1:10": lambda rng, size: rng.standard_normal(size) * np.geomspace(1, 10, size[-1]),
}


def _study(values: np.ndarray, **options) -> WithBest:
    return with_best({f"o{i}": column for i, column in enumerate(values.T)}, **options)


def _delta(truth: np.ndarray) -> np.ndarray:
    return np.array([t - np.delete(truth, i).min() for i, t in enumerate(truth)])


class TestCriticalValues:
    def test_two_optimizers_are_a_paired_t_test(self) -> None:
        assert critical_values(2, (10,))[2, 0] == pytest.approx(stats.t.ppf(0.975, 9))

    def test_many_runs_of_equal_spread_are_tukeys_range(self) -> None:
        wanted = stats.studentized_range.ppf(0.95, 5, np.inf) / np.sqrt(2)
        assert critical_values(5, (200,))[5, 0] == pytest.approx(wanted, abs=0.06)

    def test_one_against_all_others_is_dunnetts_test(self) -> None:
        rng = np.random.default_rng(1)
        sigma = 0.5 + 0.5 * np.eye(4)
        wanted = np.quantile(rng.multivariate_normal(np.zeros(4), sigma, 200_000).max(1), 0.95)
        assert critical_values(5, (200,))[1, 0] == pytest.approx(wanted, abs=0.06)

    def test_values_fall_with_the_set_and_rise_with_looks(self) -> None:
        one, three = critical_values(6, (10,)), critical_values(6, (10, 20, 40))
        assert (np.diff(one[1:, 0]) > 0).all()
        assert (three[1:, 0] > one[1:, 0]).all()

    def test_the_level_of_several_looks_is_what_was_paid_for(self) -> None:
        """Other simulated numbers than those the values were made from."""
        looks, rng = (5, 10, 20), np.random.default_rng(7)
        critical = critical_values(3, looks)
        values = rng.standard_normal((20_000, 20, 3))
        over = np.zeros(len(values), bool)
        for i, n in enumerate(looks):
            over |= np.abs(paired_t(values[:, :n])[2]).max((1, 2)) >= critical[3, i]
        wrong = over.mean()
        assert 0.044 < wrong < 0.056


class TestPairedT:
    def test_is_scipys_paired_t_test(self) -> None:
        values = np.random.default_rng(0).standard_normal((9, 3))
        difference, error, t = paired_t(values)
        wanted = stats.ttest_rel(values[:, 0], values[:, 2])
        assert t[0, 2] == pytest.approx(wanted.statistic)
        interval = wanted.confidence_interval(0.9)
        assert difference[0, 2] + stats.t.ppf(0.95, 8) * error[0, 2] == pytest.approx(interval.high)

    def test_equal_numbers_have_no_difference_and_no_noise(self) -> None:
        column = np.random.default_rng(0).standard_normal(10) * 1e6
        values = np.stack([column, column, column + 1], axis=1)
        difference, error, t = paired_t(values)
        assert t[0, 1] == difference[0, 1] == error[0, 1] == 0
        assert t[2, 0] == np.inf


class TestOnKnownTruth:
    """The whole function on simulated studies; in full in benchmarks/verdicts.py."""

    STUDIES = 400

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize(("optimizers", "runs"), [(2, 5), (4, 10), (8, 5), (8, 20)])
    def test_all_intervals_cover_and_no_equal_is_called_worse(self, shape: str, optimizers: int, runs: int) -> None:
        rng = np.random.default_rng([optimizers, runs])
        covered = false = 0
        for _ in range(self.STUDIES):
            study = _study(SHAPES[shape](rng, (runs, optimizers)))
            covered += all(s.low <= 0 <= s.high for s in study.standings)
            false += bool(study.others)
        # .95 and .05, with what 400 studies leave open
        assert covered / self.STUDIES >= 0.95 - 0.028
        assert false / self.STUDIES <= 0.05 + 0.028

    @pytest.mark.parametrize("misses", [0.0, 0.2, 0.6])
    @pytest.mark.parametrize("optimizers", [2, 5])
    def test_runs_that_diverge_alike_leave_coverage_and_level(self, optimizers: int, misses: float) -> None:
        """A run that diverged has the loss that it began with. More kinds: benchmarks/verdicts.py."""
        rng, studies = np.random.default_rng([optimizers, int(10 * misses)]), 200
        covered = false = 0
        for _ in range(studies):
            study = _study(_with_misses(rng, rng.standard_normal((20, optimizers)), misses))
            covered += all(s.low <= 0 <= s.high for s in study.standings)
            false += bool(study.others)
        assert covered >= stats.binom.ppf(0.01, studies, 0.95)
        assert false <= stats.binom.ppf(0.99, studies, 0.05)

    @pytest.mark.parametrize("shape", ["normal", "skewed"])
    def test_intervals_cover_unequal_truths_and_the_best_is_not_lost(self, shape: str) -> None:
        rng, truth = np.random.default_rng(3), np.array([0.0, 0.1, 0.5, 1.0, 2.0])
        delta, covered, lost = _delta(truth), 0, 0
        for _ in range(self.STUDIES):
            study = _study(SHAPES[shape](rng, (10, 5)) + truth)
            covered += all(
                study.standing(f"o{i}").low <= d <= study.standing(f"o{i}").high for i, d in enumerate(delta)
            )
            lost += "o0" not in study.top
        assert covered / self.STUDIES >= 0.95 - 0.022
        assert lost / self.STUDIES <= 0.05

    def test_looks_keep_the_level_and_save_runs(self) -> None:
        rng, looks = np.random.default_rng(4), (5, 10, 20)
        false, used = 0, []
        for _ in range(self.STUDIES):
            values = rng.standard_normal((20, 3))
            false += bool(_study(values, looks=looks).others)
            used.append(_study(values + np.array([0, 1.5, 3.0]), looks=looks).looks[-1])
        assert false / self.STUDIES <= 0.05 + 0.022
        assert np.mean(used) < 0.7 * 20

    def test_equivalent_is_seldom_said_of_what_is_worse_than_the_margin(self) -> None:
        rng, false = np.random.default_rng(5), 0
        for _ in range(self.STUDIES):
            study = _study(0.5 * rng.standard_normal((20, 3)) + np.array([0, 0.5, 0.5]), margin=0.49)
            false += any(study.standing(name).equivalent for name in ("o1", "o2"))
        assert false / self.STUDIES <= 0.05

    def test_equivalent_is_seldom_said_of_what_is_worse_by_the_runs_that_trained(self) -> None:
        """Two optimizers of which a fifth of the runs diverge, one worse by more than the margin where neither does."""
        rng, studies, false = np.random.default_rng(12), 200, 0
        for _ in range(studies):
            values = 0.5 * rng.standard_normal((20, 2)) + np.array([0, 0.8])
            false += _study(_with_misses(rng, values, 0.2), margin=0.4).standing("o1").equivalent
        assert false <= stats.binom.ppf(0.99, studies, 0.05)

    @pytest.mark.parametrize("worse", [False, True])
    @pytest.mark.parametrize("misses", [0.0, 0.2])
    def test_finds_what_holm_on_paired_t_tests_finds(self, worse: bool, misses: float) -> None:
        rng, here, holm = np.random.default_rng(6), 0, 0
        runs, gap = (20, 1.6) if misses else (10, 1.2)
        for _ in range(self.STUDIES if not misses else 200):
            values = rng.standard_normal((runs, 4))
            values[:, 0] += gap if worse else -gap
            values = _with_misses(rng, values, misses)
            found = _holm(values)
            study = _study(values)
            if worse:
                here += "o0" in study.others
                holm += any(found[0, j] and values.mean(0)[0] > values.mean(0)[j] for j in range(1, 4))
            else:
                here += study.top == ["o0"]
                holm += found[0, 1:].all()
        assert here >= holm > (0.05 * self.STUDIES if not misses else 0)


def _with_misses(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """The values with so many runs diverged; those of a seed began with the same loss, far above all others."""
    start = 10 + rng.standard_normal((len(values), 1))
    return np.where(rng.random(values.shape) < share, start, values)


def _holm(values: np.ndarray) -> np.ndarray:
    """Which pairs of columns differ, by Holm's correction of scipy's paired t-tests."""
    optimizers = values.shape[1]
    pairs = [(i, j) for i in range(optimizers) for j in range(i)]
    p = np.array([stats.ttest_rel(values[:, i], values[:, j]).pvalue for i, j in pairs])
    found = np.zeros((optimizers, optimizers), bool)
    for rank, at in enumerate(p.argsort()):
        if p[at] > 0.05 / (len(pairs) - rank):
            break
        i, j = pairs[at]
        found[i, j] = found[j, i] = True
    return found


class TestOneStatement:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([3, 5, 12]), st.sampled_from([0.0, 0.5]))
    def test_verdict_and_interval_never_disagree(self, seed: int, optimizers: int, runs: int, margin: float) -> None:
        rng = np.random.default_rng(seed)
        study = _study(rng.standard_normal((runs, optimizers)) + rng.uniform(0, 3, optimizers), margin=margin)
        for s in study.standings:
            assert s.low <= s.high
            assert (s.verdict == "not the best") == (s.low >= 0 and s.name not in study.top)
            assert (s.verdict == "best") == (study.top == [s.name])
            assert s.equivalent == (s.high <= margin)
        assert study.top
        assert [s.difference for s in study.standings if s.name in study.top] == sorted(
            s.difference for s in study.standings if s.name in study.top
        )

    def test_the_order_of_the_optimizers_changes_nothing(self) -> None:
        values = np.random.default_rng(8).standard_normal((10, 5)) + np.array([0, 0.2, 1, 2, 0.1])
        named = {f"o{i}": column for i, column in enumerate(values.T)}
        wanted = with_best(named, looks=(5, 10), margin=0.3)
        for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
            assert with_best({f"o{i}": named[f"o{i}"] for i in order}, looks=(5, 10), margin=0.3) == wanted

    def test_the_upper_end_is_by_those_that_may_be_the_best(self) -> None:
        """One that dropped out at an early look, when all intervals were wide, widens none of later looks."""
        rng = np.random.default_rng(11)
        tight, noisy = 0.01 * rng.standard_normal(20), 10 * rng.standard_normal(20)
        study = with_best({"tight": tight, "noisy": noisy, "out": tight[:5] + 1 + 0.001 * noisy[:5]}, looks=(5, 20))
        assert study.others == ["out"]
        at_20, at_5 = study.pairs["noisy", "tight"][2], study.pairs["noisy", "out"][2]
        assert at_5 > at_20
        assert study.standing("noisy").high == pytest.approx(max(at_20, 0.0))

    def test_one_that_is_out_needs_no_more_runs(self) -> None:
        values = np.random.default_rng(9).standard_normal((10, 3)) * 0.1 + np.array([0, 0.01, 5])
        study = with_best({"a": values[:, 0], "b": values[:, 1], "c": values[:5, 2]}, looks=(5, 10))
        assert study.standing("c").runs == 5
        assert study.standing("c").low > 3
        assert study.looks == (5, 10)

    def test_intervals_stay_as_wide_as_all_optimizers_make_them_though_some_are_out(self) -> None:
        """They hold together: those of the two that are left, and that of the one that is out."""
        values = np.random.default_rng(9).standard_normal((10, 3)) * 0.1 + np.array([0, 0.01, 5])
        study = with_best({"a": values[:, 0], "b": values[:, 1], "c": values[:5, 2]}, looks=(5, 10))
        assert study.others == ["c"]
        critical = critical_values(3, (5, 10))
        for pair, look, n in ((("a", "b"), 1, 10), (("a", "c"), 0, 5)):
            i, j = ("abc".index(name) for name in pair)
            _, low, high = study.pairs[pair]
            wanted = critical[3, look] * stats.sem(values[:n, i] - values[:n, j])
            assert (high - low) / 2 == pytest.approx(wanted)

    def test_one_without_runs_for_a_look_is_still_one_of_those_that_may_be_the_best(self) -> None:
        """A difference that two alone would show is not shown among three of which one has no part in the look."""
        critical = critical_values(3, (5, 10))
        zigzag = np.array([-1.0, 1.0] * 5)
        gap = (critical[2, 1] + critical[3, 1]) / 2 * stats.sem(zigzag)
        runs = {"a": np.zeros(10), "b": gap + zigzag}
        assert with_best(runs | {"c": 100 * zigzag[:5]}, looks=(5, 10)).others == []
        clear = {"a": np.zeros(10), "b": gap * critical[3, 1] / critical[2, 1] + zigzag}
        assert with_best(clear | {"c": 100 * zigzag[:5]}, looks=(5, 10)).others == ["b"]

    def test_more_runs_show_that_equal_ones_are_equivalent(self) -> None:
        """Of a difference of 0, against the numbers of runs whose interval, and .84 errors more, fit into the margin."""
        zigzag = np.array([-1.0, 1.0] * 3)
        study = with_best({"a": np.zeros(6), "b": zigzag}, margin=0.5)
        spread = zigzag.std(ddof=1)
        wanted = next(n for n in range(6, 99) if (stats.t.ppf(0.975, n - 1) + 0.84) * spread / np.sqrt(n) <= 0.5)
        assert study.more == wanted - 6
        assert with_best({"a": np.zeros(6), "b": zigzag}).more is None

    def test_more_runs_are_about_as_many_as_it_takes(self) -> None:
        """Of a difference of .8 spreads of the difference, against the power of the t-test."""
        values = np.random.default_rng(2).standard_normal((6, 1)) * np.array([[0.0, 1.0]])
        values[:, 1] = (values[:, 1] - values[:, 1].mean()) / values[:, 1].std(ddof=1) + 0.8
        study = _study(values)
        assert not study.settled
        n = next(n for n in range(6, 60) if _power(0.8, n) >= 0.8)
        assert abs(len(values) + (study.more or 0) - n) <= 2


def _power(effect: float, n: int) -> float:
    return float(stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, effect * np.sqrt(n)))


class TestWrongInput:
    @pytest.mark.parametrize(
        ("values", "options", "message"),
        [
            ({"a": [1.0, 2.0]}, {}, "at least two optimizers"),
            ({"a": [1.0, 2.0], "b": [1.0, np.nan]}, {}, "values of b"),
            ({"a": [1.0, 2.0], "b": [1.0, 3.0]}, {"looks": (5, 10)}, "the first look needs 5"),
            ({"a": [1.0, 2.0], "b": [1.0, 3.0]}, {"looks": (2, 2)}, "rise"),
            ({"a": [1.0, 2.0], "b": [1.0, 3.0]}, {"margin": -1.0}, "margin = -1.0"),
        ],
    )
    def test_is_answered(self, values: dict[str, list[float]], options: dict[str, object], message: str) -> None:
        with pytest.raises(ComparisonError, match=message):
            with_best({name: np.array(v) for name, v in values.items()}, **options)


class TestWrongArguments:
    @pytest.mark.parametrize("alpha", [0.0, 2.0, np.nan, -0.1])
    def test_a_chance_is_a_chance(self, alpha: float) -> None:
        with pytest.raises(OptionError, match="chance of a wrong statement"):
            check_alpha(alpha)

    @pytest.mark.parametrize("size", [1e160, 1e-170])
    def test_squares_that_no_number_holds_are_refused(self, size: float) -> None:
        values = size * np.random.default_rng(0).standard_normal((10, 2))
        with pytest.raises(ComparisonError, match="squares"):
            _study(values)

    def test_one_without_runs_for_a_look_has_no_part_in_it(self) -> None:
        values = np.random.default_rng(1).standard_normal((10, 3))
        study = with_best({"a": values[:, 0], "b": values[:, 1], "c": values[:5, 2]}, looks=(5, 10))
        assert {s.name: s.runs for s in study.standings} == {"a": 10, "b": 10, "c": 5}
        assert "c" in study.top
