"""The target and the steps to it: nothing that missed is dropped, and a miss is censored, not counted as a number."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ravine.comparison._judge import FreshRun, OptimizerRuns, StepsToTarget, Target, rank_tests, steps_to, target_of
from ravine.errors import ComparisonError

NEVER = float("nan")


def _taken(steps, horizon=1000.0, name="a"):
    return StepsToTarget(name, dict(enumerate(steps)), frozenset(), horizon)


class TestTarget:
    def test_it_is_the_middle_of_the_medians_of_the_tunings(self, make_optimizer):
        scores = {"a": [[0.1, 0.9], [0.2, 0.9], [0.3, None]], "b": [0.4, 0.5, 0.6], "c": [0.7, 0.8, 0.9]}
        optimizers = [make_optimizer(name, [0.0], tunings) for name, tunings in scores.items()]
        assert target_of(optimizers) == target_of(optimizers[::-1]) == Target(0.5, 3)
        assert target_of(optimizers, tunings=1) == Target(0.4, 3)
        assert target_of(optimizers[:2]).loss == 0.5  # of two the one that both can reach
        assert target_of(optimizers).sentence == (
            "The target is a validation loss of 0.5, which most of the 3 optimizers reach in at least half of their tunings."
        )
        assert Target(0.25).sentence == "The target is a validation loss of 0.25."

    def test_it_does_not_look_at_the_runs_that_are_judged(self, make_optimizer):
        assert target_of([make_optimizer("a", [0.0, 0.1], [0.5])]) == target_of([make_optimizer("a", [9.0], [0.5])])

    def test_without_a_score_there_is_none(self, make_optimizer):
        with pytest.raises(ComparisonError, match="No optimizer was tuned"):
            target_of([make_optimizer("a", [0.5])])
        lost = [make_optimizer(name, tunings=[[None], [None], [0.5]]) for name in "ab"]
        with pytest.raises(ComparisonError, match="2 of 3 optimizers diverged in at least half"):
            target_of([*lost, make_optimizer("c", tunings=[0.5])])


class TestSteps:
    def test_the_first_step_at_or_below_the_target_counts_and_misses_stay(self, make_optimizer):
        curves = [[0.9, 0.5, 0.6], [0.9, 0.8, 0.4], [0.9, 0.9, 0.9], None]
        found = steps_to(0.5, [make_optimizer("adam", curves)])["adam"]
        assert found.reached == [100, 200]
        assert found.missed == {2, 3}
        assert found.diverged == {3}
        assert found.median == np.inf  # half of them: the middle lies between 200 and never
        assert found.restricted_mean == (100 + 200 + 200 + 200) / 4
        assert found.sentence == "adam reached the target in 2 of 4 runs; 1 of the others diverged."

    def test_the_sentences(self, make_optimizer):
        optimizers = [
            make_optimizer("a", [[2, 0.4]] * 3),
            make_optimizer("b", [[2, 0.6]] * 3),
            make_optimizer("c", [None]),
        ]
        found = steps_to(0.5, optimizers)
        assert [found[name].sentence for name in "abc"] == [
            "a reached the target in 3 of 3 runs, in a median of 100 steps.",
            "b reached the target in none of 3 runs.",
            "c reached the target in none of 1 run; 1 of the runs diverged.",
        ]

    def test_a_run_that_met_the_target_and_then_diverged_is_a_miss(self):
        runs = [
            FreshRun(0, [0, 1], [0.1, np.nan], np.nan, diverged=True),
            FreshRun(1, [0, 1], [2, 0.2], 0.2),
        ]
        found = steps_to(0.5, [OptimizerRuns("sgd", (), runs)])["sgd"]
        assert found.missed == found.diverged == {0}

    def test_the_horizon_is_that_of_all(self, make_optimizer):
        optimizers = [make_optimizer("a", [[1.0, 0.9]]), make_optimizer("b", [[1.0, 0.9, 0.8, 0.1]])]
        assert steps_to(0.5, optimizers)["a"].horizon == 300

    @pytest.mark.parametrize("first", [0, 50])
    def test_a_target_that_all_meet_at_the_first_evaluation_is_refused(self, first):
        def study(*losses):
            runs = [FreshRun(i, first + 50 * np.arange(len(c)), c, c[-1]) for i, c in enumerate(losses)]
            return [OptimizerRuns("a", (), runs)]

        before = [2.0] if first == 0 else []  # what was measured before the first step
        at_once, later = ([*before, *curve] for curve in ([0.4, 0.3], [0.6, 0.4]))
        with pytest.raises(ComparisonError, match=r"0\.5 is degenerate: every run meets it at its first evaluation"):
            steps_to(0.5, study(at_once, at_once))
        assert list(steps_to(0.5, study(at_once, later))["a"].steps.values()) == [50, 100]

    def test_no_curve_is_no_study(self):
        with pytest.raises(ComparisonError, match="no run with a curve"):
            steps_to(0.5, [OptimizerRuns("c")])

    @given(st.lists(st.lists(st.floats(0, 10), min_size=1, max_size=8), min_size=1, max_size=6), st.floats(0, 10))
    def test_every_run_is_a_hit_or_a_miss_and_a_hit_is_the_first(self, found, target):
        runs = [FreshRun(i, np.arange(1, len(c) + 1), c, c[-1]) for i, c in enumerate(found)]
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


class TestCensored:
    def test_the_restricted_mean_is_the_area_under_the_survival_curve(self):
        """Kaplan and Meier's curve is scipy's, its area a sum by hand."""
        rng = np.random.default_rng(0)
        for share in (0.1, 0.5, 0.9):
            times, horizon = rng.exponential(1000, 30), float(-1000 * np.log(share))
            taken = _taken(np.where(times <= horizon, times, NEVER), horizon)
            data = stats.CensoredData.right_censored(np.minimum(times, horizon), times > horizon)
            curve = stats.ecdf(data).sf
            edges = np.concatenate([[0.0], curve.quantiles[curve.quantiles < horizon], [horizon]])
            heights = np.concatenate([[1.0], curve.probabilities[curve.quantiles < horizon]])
            assert taken.restricted_mean == pytest.approx(np.sum(heights * np.diff(edges)))

    def test_the_share_has_clopper_and_pearsons_interval(self):
        low, high = _taken([1.0] * 7 + [NEVER] * 3).share_interval
        assert (low, high) == pytest.approx((stats.beta.ppf(0.025, 7, 4), stats.beta.ppf(0.975, 8, 3)))
        assert _taken([NEVER] * 4).share_interval[0] == 0

    def test_ranks_are_wilcoxons_where_all_reach_it(self):
        rng = np.random.default_rng(0)
        for n in (5, 12, 40):
            one, other = rng.uniform(100, 200, n), rng.uniform(120, 260, n)
            wanted = stats.wilcoxon(one, other, method="exact").pvalue
            assert _taken(one).rank_p(_taken(other)) == pytest.approx(wanted)

    def test_ties_are_exact_too(self):
        """Of every way to give the differences their signs, those that are as unequal, one by one."""
        difference = np.array([0, 100, 100, -100, 200, 300, 300, 0, -200])
        ranks = stats.rankdata(np.abs(difference))
        signs = np.array(list(product([-1, 1], repeat=len(ranks))))
        sums = np.abs((signs * ranks)[:, difference != 0].sum(1))
        wanted = np.mean(sums >= abs((np.sign(difference) * ranks).sum()) - 1e-9)
        assert _taken(500.0 + difference).rank_p(_taken([500.0] * 9)) == pytest.approx(wanted)

    def test_a_miss_stands_behind_every_number(self):
        """However late the others were, and however far away one writes a miss."""
        one, other = [100, 200, 300, 400, 500, 990], [110, 190, 350, NEVER, NEVER, NEVER]
        far = np.nan_to_num(other, nan=1e9) + np.array([0, 0, 0, 0, 1, 2])
        wanted = stats.wilcoxon(one, far).pvalue
        assert _taken(one).rank_p(_taken(other)) == pytest.approx(wanted, abs=0.02)
        assert _taken([NEVER] * 6).rank_p(_taken([999.0] * 6)) == pytest.approx(2 / 2**6)

    def test_two_that_miss_together_are_no_difference(self):
        assert _taken([NEVER] * 6).rank_p(_taken([NEVER] * 6)) == 1
        assert _taken([5.0, NEVER]).rank_p(_taken([5.0, NEVER])) == 1

    def test_only_seeds_that_both_have_count(self):
        one, other = _taken([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), _taken([9.0] * 5)
        assert one.rank_p(other) == pytest.approx(2 / 2**5)

    def test_ranks_against_the_first_are_corrected_as_holm_does(self):
        """Below a level are those that his step-down test rejects at it: the smallest at a third, the next at a half, ..."""
        rng, seen = np.random.default_rng(1), set()
        for _ in range(20):
            shifts = zip("abcd", (0, 5, 40, 45), strict=True)
            steps = {name: _taken(rng.uniform(100, 200, 9) + shift) for name, shift in shifts}
            plain = {name: steps[name].rank_p(steps["a"]) for name in "bcd"}
            corrected = rank_tests(steps, "a")
            assert corrected.keys() == plain.keys()
            for level in np.geomspace(0.001, 0.999, 50):
                rejected = set()
                for place, name in enumerate(sorted(plain, key=plain.get)):
                    if plain[name] > level / (3 - place):
                        break
                    rejected.add(name)
                seen.add(len(rejected))
                assert {name for name, p in corrected.items() if p <= level} == rejected
        assert seen == {0, 1, 2, 3}

    def test_the_level_is_held_at_any_share_of_misses(self):
        rng = np.random.default_rng(0)
        for horizon in (3000, 700, 300):
            wrong = 0
            for _ in range(400):
                one, other = (np.where((t := rng.exponential(1000, 10)) <= horizon, t, NEVER) for _ in range(2))
                wrong += _taken(one, horizon).rank_p(_taken(other, horizon)) < 0.05
            assert wrong / 400 <= 0.05 + 0.022
