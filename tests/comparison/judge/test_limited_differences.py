"""Paired differences of which none counts for more than five usual ones: against NumPy and scipy, and against known truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge.limited_differences import far_from_others, limited_t, usual_size
from ravine.comparison._judge.with_best import WithBest, with_best

STUDIES = 400


def _study(values: np.ndarray, **options) -> WithBest:
    return with_best({f"o{i}": column for i, column in enumerate(values.T)}, **options)


class TestThePairs:
    def test_runs_near_each_other_are_scipys_paired_t_test(self) -> None:
        values = np.random.default_rng(0).uniform(1, 2, (20, 3))
        difference, error, t, far_out = limited_t(values)
        for i, j in ((0, 1), (2, 0)):
            wanted = stats.ttest_rel(values[:, i], values[:, j])
            assert t[i, j] == pytest.approx(wanted.statistic)
            assert difference[i, j] == pytest.approx((values[:, i] - values[:, j]).mean())
            interval = wanted.confidence_interval(0.9)
            assert difference[i, j] + stats.t.ppf(0.95, 19) * error[i, j] == pytest.approx(interval.high)
        assert far_out.tolist() == [0, 0, 0]

    def test_far_out_differences_count_as_five_times_the_median_size(self) -> None:
        """scipy's t-test of the numbers that remain, written out."""
        first = np.array([1.0, -2.0, 3.0, 4.0, -50.0, 90.0])  # sizes 1, 2, 3, 4, 50, 90: the median is 3.5
        wanted = np.array([1.0, -2.0, 3.0, 4.0, -17.5, 17.5])
        difference, error, t, far_out = limited_t(np.stack([first, np.zeros(6)], axis=1))
        assert difference[0, 1] == pytest.approx(wanted.mean())
        assert error[0, 1] == pytest.approx(stats.sem(wanted))
        assert t[0, 1] == pytest.approx(stats.ttest_1samp(wanted, 0.0).statistic)
        assert far_out.tolist() == [2, 0]

    def test_far_out_is_far_from_the_best_of_the_others(self) -> None:
        """A run 7 above the best, where 2 is usual, is not; though it is 6 above another, where 1 is usual."""
        noise = 0.01 * np.random.default_rng(2).standard_normal((9, 3))
        values = noise + np.array([0.0, 1.0, 2.0])
        values[3, 2] = 7.0
        assert limited_t(values)[3].tolist() == [0, 0, 0]
        values[3, 2] = 11.0
        assert limited_t(values)[3].tolist() == [0, 0, 1]

    def test_of_a_pair_the_run_farther_from_its_own_median_is_far_out(self) -> None:
        """However far another of the same optimizer moves its mean, and whatever is usual for the other."""
        values = np.stack([10 + 0.1 * np.arange(7.0), 0.01 * np.arange(7.0)], axis=1)
        values[1:3, 0], values[1, 1] = 110.0, -90.0
        assert limited_t(values)[3].tolist() == [2, 0]
        values = np.stack([10 + 0.1 * np.arange(7.0), np.append(1.0, 9 + 0.01 * np.arange(6.0))], axis=1)
        assert limited_t(values)[3].tolist() == [0, 1]

    def test_ties_say_nothing_of_the_usual_size(self) -> None:
        """As where both diverge, or all tunings choose the same point."""
        first = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 100.0])
        difference, _, _, far_out = limited_t(np.stack([first + 7, np.full(8, 7.0)], axis=1))
        assert difference[0, 1] == pytest.approx((1 + 2 + 10) / 8)
        assert far_out.tolist() == [1, 0]

    @pytest.mark.parametrize("runs", [1, 2, 5, 6, 21])
    def test_the_usual_size_is_numpys_median_of_what_is_not_0(self, runs: int) -> None:
        rng = np.random.default_rng(runs)
        differences = np.where(rng.random((runs, 6, 5)) < np.linspace(0, 1, 5), 0.0, rng.standard_normal((runs, 6, 5)))
        wanted = np.ma.median(np.ma.masked_equal(np.abs(differences), 0.0), axis=0).filled(np.inf)
        assert np.array_equal(usual_size(differences), wanted)
        assert np.isinf(wanted[:, -1]).all()

    def test_what_rounding_leaves_of_equal_numbers_is_no_usual_size(self) -> None:
        column = np.random.default_rng(0).uniform(1, 2, 9)
        values = np.stack([column, column * (1 + 2e-16)], axis=1)
        assert (values[:, 0] != values[:, 1]).any()
        values[0, 1] += 1.0
        difference, _, _, far_out = limited_t(values)
        assert difference[1, 0] == pytest.approx(1 / 9)
        assert far_out.tolist() == [0, 0]

    def test_equal_numbers_have_no_difference_and_no_noise(self) -> None:
        column = np.random.default_rng(0).standard_normal(10) * 1e6
        difference, error, t, _ = limited_t(np.stack([column, column, column + 1], axis=1))
        assert t[0, 1] == difference[0, 1] == error[0, 1] == 0
        assert t[2, 0] == np.inf
        third = np.where(np.arange(10) % 2, 0.1 + 0.2, 0.3)  # the same but for rounding
        assert limited_t(np.stack([np.zeros(10), third], axis=1))[2].tolist() == [[0, -np.inf], [np.inf, 0]]

    def test_is_the_same_in_any_unit_and_whoever_comes_first(self) -> None:
        values = np.random.default_rng(1).standard_t(1, (15, 4))
        difference, error, t, far_out = limited_t(values)
        assert far_out.sum() > 0
        assert np.array_equal(t, -t.T)
        other = limited_t(1000 * values[:, [2, 0, 3, 1]])
        at = np.ix_([2, 0, 3, 1], [2, 0, 3, 1])
        assert np.allclose(other[0], 1000 * difference[at], rtol=1e-12)
        assert np.allclose(other[1], 1000 * error[at], rtol=1e-12)
        assert other[3].tolist() == far_out[[2, 0, 3, 1]].tolist()


class TestTheVerdict:
    def test_one_run_far_out_does_not_hide_what_all_others_show(self) -> None:
        rng = np.random.default_rng(2)
        values = 3 + 0.02 * rng.standard_normal((20, 2)) + np.array([0.0, 0.06])
        values[7, 1] = 5.5  # it diverged: the loss that it began with
        assert stats.ttest_rel(values[:, 0], values[:, 1]).pvalue > 0.05
        study = _study(values)
        assert study.top == ["o0"]
        assert [study.standing(name).far_out for name in ("o0", "o1")] == [0, 1]
        assert study.standing("o1").difference == pytest.approx(-study.standing("o0").difference)
        assert 0.05 < study.standing("o1").difference < 0.09
        assert study.standing("o1").mean - study.standing("o0").mean > 0.15

    def test_the_order_is_that_of_the_differences(self) -> None:
        """A run far out makes the mean of the best the highest; it comes first all the same, and the others with it."""
        values = 0.01 * np.random.default_rng(3).standard_normal((12, 3)) + np.array([0.0, 0.1, 0.05])
        values[4, 0] = 9.0
        study = _study(values, margin=1.0)
        assert [s.name for s in study.standings] == ["o0", "o2", "o1"]
        assert study.standings[0].difference < 0 < study.standings[1].difference
        assert study.standings[0].mean > max(s.mean for s in study.standings[1:])
        assert [s.far_out for s in study.standings] == [1, 0, 0]

    def test_how_many_more_runs_settle_it_is_not_decided_by_a_run_far_out(self) -> None:
        """It stands on the limited differences: as if the run were that far away, and no farther."""
        values = np.stack([np.zeros(12), np.random.default_rng(4).standard_normal(12) + 0.5], axis=1)
        values[2, 1] = 1e6
        limit = 5 * np.median(np.abs(values[:, 1]))
        study = _study(values)
        values[2, 1] = limit
        assert not study.settled
        assert study.more == _study(values).more
        assert study.more is not None

    def test_more_runs_tell_the_others_from_the_best_though_its_mean_is_the_highest(self) -> None:
        """Those two are alike: no number of runs would tell one of them from the other."""
        values = np.random.default_rng(6).standard_normal((12, 3)) + 1.2
        values[:, 0] -= 1.2
        values[0, :2] = 100.0, 1.2
        values[:, 2] = values[:, 1] + 0.01 * (-1.0) ** np.arange(12)
        study = _study(values)
        assert len(study.top) > 1
        assert study.standings[0].name == "o0"
        assert study.more is not None
        assert study.more < 250

    @pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
    @pytest.mark.parametrize(("optimizers", "looks"), [(2, (10,)), (5, (8, 14, 20))])
    def test_runs_that_diverge_alike_call_nobody_worse(
        self, share: float, optimizers: int, looks: tuple[int, ...]
    ) -> None:
        rng, false = np.random.default_rng([optimizers, int(100 * share)]), 0
        for _ in range(STUDIES):
            size = (looks[-1], optimizers)
            start = 10 + rng.standard_normal((looks[-1], 1))
            values = np.where(rng.random(size) < share, start, rng.standard_normal(size))
            false += bool(_study(values, looks=looks).others)
        assert false / STUDIES <= 0.05 + 0.028  # what 400 studies leave open

    def test_a_difference_is_found_though_a_run_in_twenty_diverges(self) -> None:
        """Of 1.2 spreads of the difference: in half of the studies, where a t-test finds it in a fifth."""
        rng, here, t_test = np.random.default_rng(5), 0, 0
        for _ in range(STUDIES):
            values = rng.standard_normal((20, 2)) + np.array([0.0, 1.2 * np.sqrt(2)])
            values = np.where(rng.random((20, 2)) < 0.05, 40.0, values)
            here += _study(values).top == ["o0"]
            t_test += stats.ttest_rel(values[:, 1], values[:, 0], alternative="greater").pvalue < 0.025
        assert here / STUDIES > 0.44  # .52 but for what 400 studies leave open
        assert t_test / STUDIES < 0.3

    def test_normal_runs_are_found_as_often_as_by_a_t_test(self) -> None:
        rng, here, t_test = np.random.default_rng(6), 0, 0
        for _ in range(STUDIES):
            values = rng.standard_normal((10, 2)) + np.array([0.0, 1.0])
            here += _study(values).top == ["o0"]
            t_test += stats.ttest_rel(values[:, 1], values[:, 0], alternative="greater").pvalue < 0.025
        assert here >= t_test > 0.3 * STUDIES


def test_a_run_alone_is_far_out_beyond_five_usual_differences_between_runs():
    rng = np.random.default_rng(0)
    for runs in (2, 3, 4, 5, 8, 20):
        studies = rng.standard_normal((1000, runs))
        found = np.array([far_from_others(one) for one in studies])
        assert found.any(axis=1).mean() <= 0.02, "normal runs are not far out"
        if runs >= 5:
            assert np.mean([far_from_others(np.append(one[1:], 20.0))[-1] for one in studies]) >= 0.95
    usual = np.median([abs(a - b) for a, b in itertools.combinations([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2)])
    for away, out in ((4.99, False), (5.01, True)):
        values = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0] * 9 + [3 + away * usual])  # 3 is the median of all
        assert abs(np.median([abs(a - b) for a, b in itertools.combinations(values, 2) if a != b]) - usual) < 1e-12
        assert far_from_others(values)[-1] == out
    assert not far_from_others(np.array([1.0, 1.0, 1.0])).any()
