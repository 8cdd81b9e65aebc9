"""Pairs of optimizers on simulated runs with a known truth: ties stay ties, differences are found, and words are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ravine.comparison._judge import (
    LOSS,
    STEPS,
    Metric,
    Values,
    compare,
    compare_pairs,
    holm,
    interval,
    p_value,
    seeds_needed,
)
from ravine.errors import ComparisonError, OptionError

ACCURACY = Metric("accuracy", higher_is_better=True)
NONE = "no difference shown"


def values(numbers, **rest):
    return Values(dict(enumerate(np.asarray(numbers, dtype=float).tolist())), **rest)


def optimizers(table):
    return {f"optimizer {i}": values(row) for i, row in enumerate(table)}


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_steps_reject(p):
    adjusted = holm(p)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for i, at in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[at] * (len(p) - i) > alpha:
                break
            rejected.add(at)
        assert {i for i, q in enumerate(adjusted) if q <= alpha} == rejected
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= 1)


def test_the_p_value_is_scipys_and_the_interval_its_inversion():
    rng = np.random.default_rng(0)
    for _ in range(20):
        d = rng.normal(0.5, 1, 6)
        found = stats.ttest_1samp(d, 0.0)
        assert p_value(d) == pytest.approx(found.pvalue)
        assert interval(d, confidence=0.9) == pytest.approx(tuple(found.confidence_interval(0.9)))
        low, high = interval(d)
        assert (low <= 0 <= high) == (p_value(d) > 0.05)


@pytest.mark.parametrize(("count", "seeds"), [(2, 5), (3, 10), (8, 10)])
def test_arms_of_one_distribution_are_called_a_tie_family_wise(count, seeds):
    rng, wrong, repeats = np.random.default_rng(0), 0, 1200 // count
    for _ in range(repeats):
        shared = rng.normal(size=seeds)  # what the seed does to every optimizer
        pairs = compare(optimizers(shared + rng.normal(size=(count, seeds))))
        wrong += any(pair.kind != NONE for pair in pairs)
    assert wrong / repeats <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_correcting_only_for_pairs_with_the_best_would_be_wrong():
    rng, wrong, repeats = np.random.default_rng(0), 0, 400
    for _ in range(repeats):
        table = rng.normal(size=(8, 10))
        best = table[table.mean(axis=1).argmin()]
        wrong += min(p_value(row - best) for row in table if row is not best and np.any(row != best)) <= 0.05 / 7
    assert wrong / repeats > 0.08


def test_against_a_named_reference_only_its_pairs_are_corrected():
    rng = np.random.default_rng(0)
    wrong = np.mean(
        [
            any(p.kind != NONE for p in compare(optimizers(rng.normal(size=(4, 8))), against="optimizer 0"))
            for _ in range(400)
        ]
    )
    assert 0.02 < wrong < 0.085
    assert [p.second for p in compare(optimizers(rng.normal(size=(4, 8))), against="optimizer 2")] == [
        "optimizer 2"
    ] * 3


def test_looking_a_second_time_after_more_seeds_costs_and_a_stricter_level_pays_for_it():
    rng = np.random.default_rng(0)
    wrong = {0.05: 0, 0.025: 0}
    for _ in range(400):
        d = rng.normal(size=1000)
        for alpha in wrong:
            first = p_value(d[:10]) <= alpha
            n = seeds_needed(abs(d[:10].mean()), d[:10].std(ddof=1), seeds=10, alpha=alpha)
            wrong[alpha] += first or (n <= d.size and p_value(d[:n]) <= alpha)
    assert 0.07 < wrong[0.05] / 400 < 0.14
    assert wrong[0.025] / 400 < 0.05 + 0.033


@pytest.mark.parametrize("measure", [LOSS, ACCURACY])
def test_a_planted_difference_is_found_on_the_right_side(measure):
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.5, 10)
    table = {"low": values(base + rng.normal(0, 0.02, 10)), "high": values(base + 0.1 + rng.normal(0, 0.02, 10))}
    [pair] = compare(table, measure, against="low")
    assert pair.kind == ("better" if measure.higher_is_better else "worse")
    assert pair.low < 0.1 < pair.high
    assert pair.more_seeds is None
    [pair] = compare(table, measure)
    assert pair.second == ("high" if measure.higher_is_better else "low")
    assert pair.kind == "worse"


def test_only_the_seeds_that_both_have_are_paired_and_fewer_than_two_are_refused():
    table = {"a": Values({1: 1.0, 2: 2.0, 3: 99.0}), "b": Values({2: 2.5, 1: 1.6, 4: -99.0})}
    [pair] = compare(table, against="a")
    assert pair.seeds == (1, 2)
    assert pair.difference == pytest.approx(0.55)
    with pytest.raises(ComparisonError, match="a and b have 1 seeds in common"):
        compare_pairs({"a": Values({1: 1.0}), "b": Values({1: 1.0, 2: 1.0})}, [("a", "b")])
    with pytest.raises(OptionError, match="Did you mean 'a'"):
        compare(table, against="aa")
    assert compare({"a": table["a"]}) == []


def test_the_number_of_more_seeds_gives_the_power_that_it_says():
    # The smallest difference of interest is the true one, the spread is what ten seeds show.
    rng, shown, asked = np.random.default_rng(0), 0, 0
    for _ in range(500):
        d = 0.5 + rng.normal(size=10)
        [pair] = compare({"a": values(d), "b": values(np.zeros(10))}, against="b", smallest=0.5)
        if pair.kind != NONE:
            continue
        asked += 1
        shown += p_value(0.5 + rng.normal(size=10 + pair.more_seeds)) <= 0.05  # all seeds fresh
    assert asked > 200
    assert 0.73 < shown / asked < 0.87


def test_more_seeds_are_for_the_level_that_is_left_after_correction():
    d = [0.3, -0.2, 0.5, 0.1, -0.1]
    table = {"a": values(d), "b": values(np.zeros(5)), "c": values(np.array(d) + np.array([9, 9, 9.1, 9, 9]))}
    found = {p.first: p for p in compare(table, against="b")}
    assert found["c"].kind == "worse"
    spread = np.std(d, ddof=1)
    assert found["a"].more_seeds == seeds_needed(0.12, spread, seeds=5) - 5  # only one pair is left to show
    table["c"] = values(-np.array(d))
    found = {p.first: p for p in compare(table, against="b")}
    assert found["a"].more_seeds == seeds_needed(0.12, spread, seeds=5, alpha=0.025) - 5


def test_enough_seeds_for_the_smallest_difference_are_said_to_be_enough():
    rng = np.random.default_rng(0)
    table = {"a": values(rng.normal(size=10) * 0.1), "b": values(rng.normal(size=10) * 0.1)}
    [pair] = compare(table, against="b", smallest=0.5)
    assert pair.more_seeds == 0
    assert "these seeds would have shown a difference of 0.5" in pair.sentence
    for wrong, measure in ((0.0, LOSS), (-1.0, LOSS), (1.0, STEPS), (np.nan, LOSS)):
        with pytest.raises(OptionError, match="smallest difference of interest"):
            compare(table, measure, smallest=wrong)


def test_two_seeds_that_agree_by_coarse_evaluation_prove_nothing():
    # Every run of a met the target one evaluation before b: no spread, but also no finer style.
    same = {"a": values(np.log([200, 200]), resolution=0.5), "b": values(np.log([300, 300]), resolution=1 / 3)}
    [pair] = compare(same, STEPS)
    assert p_value(np.log([1.5, 1.5])) == 0.0
    assert pair.kind == NONE
    assert pair.spread == pytest.approx((0.5 + 1 / 3) / 2)


def test_all_misses_against_all_hits_is_a_difference():
    hits = values(np.log([300, 400, 300, 500, 400]), resolution=0.27)
    misses = values(np.log([2000.0] * 5), bounded=frozenset(range(5)))
    [pair] = compare({"adam": hits, "sgd": misses}, STEPS)
    assert pair.kind == "worse"
    assert pair.effect_text == "needs at least 5.4 times as many steps"
    assert pair.sentence.startswith("sgd needs at least 5.4 times as many steps as adam")
    assert pair.sentence.endswith("Target not reached: 5 of 5 runs of sgd (counted as 2,000 steps).")


def test_the_words_of_a_pair():
    a = values([0.50, 0.52, 0.51, 0.49])
    [pair] = compare({"Adam": a, "SGD": values([0.60, 0.63, 0.61, 0.60])})
    assert pair.sentence == (
        "SGD has a validation loss 0.1 higher than Adam (95% interval 0.096 to 0.11, 4 seeds): SGD is worse."
    )
    assert pair.reversed.sentence == (
        "Adam has a validation loss 0.1 lower than SGD (95% interval 0.096 to 0.11, 4 seeds): Adam is better."
    )
    [pair] = compare({"Adam": a, "SGD": values([0.52, 0.51, 0.50, 0.53])})
    assert pair.sentence == (
        "SGD and Adam are within noise of each other in validation loss (0.01, 95% interval -0.029 to 0.049, "
        f"4 seeds): {pair.more_seeds} more seeds would settle it if the difference is as large as it looks."
    )
    steps = {"Adam": values(np.log([200, 210, 190])), "SGD": values(np.log([420, 410, 430]))}
    [pair] = compare(steps, STEPS)
    assert pair.sentence.startswith("SGD needs 2.1 times as many steps as Adam (95% interval 1.")
    assert pair.reversed.sentence.startswith("SGD needs 2.1 times as many steps as Adam")
    assert pair.reversed.sentence.endswith("Adam is better.")
    [pair] = compare({"a": a, "b": a})
    assert pair.seeds_text == "their means are equal on these seeds"
    [pair] = compare({"a": values([0, 1, -1, 2]), "b": values([0.01, -1, 2, 0.98])})
    assert pair.seeds_text == "more than 1,000 more seeds would be needed to settle it"


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=9))
def test_a_pair_turned_twice_is_itself_and_shift_and_scale_change_nothing_but_the_numbers(rows):
    a, b = np.round(np.array(rows).T, 3)
    [pair] = compare({"a": values(a), "b": values(b)}, against="b")
    assert pair.reversed.reversed == pair
    [moved] = compare({"a": values(4 * a + 1), "b": values(4 * b + 1)}, against="b")
    assert moved.difference == pytest.approx(4 * pair.difference, abs=1e-9)
    if pair.spread > 1e-6:
        assert moved.kind == pair.kind
