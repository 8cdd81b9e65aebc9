"""The verdict in words: every kind of it, word for word."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge import LOSS, Metric, with_best
from ravine.comparison._judge.number_text import count, listed, number, ratio_text
from ravine.comparison._judge.verdict_text import verdict_text

RATIO = Metric("validation loss", ratio=True)
#: Ten runs with a mean of 0 and a spread of 1, and the same in another order.
ONE = np.array([-1.5, -1.0, -0.5, -0.5, 0.0, 0.0, 0.5, 0.5, 1.0, 1.5]) / 0.9428
TWO = np.array([0.5, 1.0, 0.0, -0.5, -1.5, 1.5, 0.5, -1.0, -0.5, 0.0]) / 0.9428

GONE = {"gone": [True, True], "adam": [True, False]}


def _said(metric=LOSS, diverged=None, margin=0.0, **values):
    found = with_best({k: np.array(v) for k, v in values.items()}, margin=margin)
    lost = [name for name, runs in (diverged or {}).items() if all(runs)]
    return verdict_text(found.with_diverged(lost), metric, diverged)


def test_one_best():
    adam, sgd = 0.5 + 0.01 * ONE, 0.6 + 0.02 * TWO
    ends = stats.ttest_rel(sgd, adam).confidence_interval(0.95)
    assert f"{ends.low:.2g} to {ends.high:.2g}" == "0.083 to 0.12"
    assert _said(adam=adam, sgd=sgd) == (
        "adam is the best: its validation loss is 0.083 to 0.12 lower than the next best."
    )
    assert (
        _said(adam=[0.5, 0.6], sgd=[0.6, 0.7])
        == "adam is the best: its validation loss is 0.1 lower than the next best."
    )


def test_one_best_whose_own_interval_still_touches_0():
    """Found by stepping down: against two the middle one would not be told apart."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = {"a": rng.standard_normal(8), "b": rng.standard_normal(8) + 1.6, "c": rng.standard_normal(8) + 9}
        found = with_best(values)
        if found.top == ["a"] and found.standing("a").high == 0:
            assert "a is the best: its validation loss is up to " in verdict_text(found, LOSS)
            return
    raise AssertionError("no such study")


def test_several_that_are_not_told_apart():
    near = {"adam": 0.5 + 0.01 * ONE, "adamw": 0.502 + 0.01 * TWO}
    far = {"sgd": 0.6 + 0.01 * ONE, "adagrad": 0.7 + 0.01 * TWO}
    more = with_best(near).more
    assert (
        _said(**near)
        == f"Either adam or adamw may be the best. About {more} more seeds would settle it with a chance of 0.8."
    )
    assert _said(**near, sgd=far["sgd"]).startswith("Either adam or adamw may be the best; sgd is not. About ")
    assert _said(**near, **far).startswith("Either adam or adamw may be the best; sgd and adagrad are not. About ")
    assert _said(**near, nadam=0.501 + 0.01 * ONE[::-1]).startswith("Any of adam, nadam and adamw may be the best. ")


def test_more_seeds_than_anybody_has():
    assert _said(adam=0.5 + 0.01 * ONE, adamw=0.5 + 0.01 * TWO) == (
        "Either adam or adamw may be the best. It would take more than 1,000 more seeds to settle it."
    )


def test_differences_of_which_some_are_limited_are_typical_ones():
    """Those of the means are larger: one run of sgd is far out."""
    adam, sgd = 0.5 + 0.01 * ONE, 0.6 + 0.02 * TWO
    sgd[3] = 20.0
    assert sgd.mean() - adam.mean() > 2.0
    assert _said(adam=adam, sgd=sgd).startswith("adam is the best: its validation loss is typically 0.0")
    both = _said(adam=0.5 + 0.01 * ONE, sgd=np.where(np.arange(10) == 3, 20.0, 0.5 + 0.01 * TWO), margin=0.1)
    assert both == "adam and sgd are equivalent: their validation losses are typically within 0.1 of each other."
    wild = np.where(np.arange(10) == 3, 90.0, 3 + 0.01 * TWO)
    third = _said(adam=0.5 + 0.01 * ONE, adamw=0.5 + 0.01 * TWO, wild=wild, margin=0.1)
    assert (
        third == "adam and adamw are equivalent: their validation losses are within 0.1 of each other. wild is worse."
    )


def test_equivalent_within_the_margin():
    near = {"adam": 0.5 + 0.01 * ONE, "adamw": 0.502 + 0.01 * TWO}
    assert _said(**near, margin=0.05) == (
        "adam and adamw are equivalent: their validation losses are within 0.05 of each other."
    )
    assert _said(**near, sgd=0.6 + 0.01 * ONE, margin=0.05) == (
        "adam and adamw are equivalent: their validation losses are within 0.05 of each other. sgd is worse."
    )
    assert _said(a=[1.0, 2.0], b=[1.0, 2.0]) == "a and b are equal: their validation losses are the same in every run."


def test_worse_by_less_than_the_margin():
    assert _said(adam=0.5 + 0.001 * ONE, sgd=0.51 + 0.001 * TWO, margin=0.05) == (
        "adam and sgd are equivalent: their validation losses are within 0.05 of each other; "
        "that of adam is 0.0089 to 0.011 lower than the next best."
    )
    assert _said(adam=0.5 + 0.001 * ONE, sgd=0.51 + 0.001 * TWO, late=0.9 + 0.001 * ONE, margin=0.05).endswith(
        "lower than the next best. late is worse."
    )
    three = {"adam": 0.5 + 0.001 * ONE, "adamw": 0.5 + 0.001 * TWO, "sgd": 0.51 + 0.001 * ONE}
    assert _said(**three, margin=0.05) == (
        "adam and adamw are equivalent: their validation losses are within 0.05 of each other. "
        "sgd is worse, but within the margin of 0.05."
    )


def test_one_that_diverged_in_every_run():
    gone = {"gone": np.full(10, 2.3)}
    assert _said(diverged=GONE, adam=0.5 + 0.01 * ONE, **gone) == ("adam is the best: gone diverged in every run.")
    assert _said(diverged=GONE, adam=[0.5, 0.6], sgd=[0.6, 0.7], gone=[2.3, 2.3]) == (
        "adam is the best: its validation loss is up to 0.1 lower than the next best. gone diverged in every run."
    )
    near = {"adam": 0.5 + 0.01 * ONE, "adamw": 0.502 + 0.01 * TWO}
    said = _said(diverged=GONE, **near, **gone)
    assert said.startswith("Either adam or adamw may be the best. gone diverged in every run. About ")
    wild = {"adam": np.array([0.5, 2.3, 2.3]), "gone": np.array([2.3, 2.3, 2.3])}
    assert _said(diverged=GONE, **wild) == "adam may be the best. gone diverged in every run.", (
        "nothing is left to settle"
    )


def test_nobody_is_the_best_where_those_that_would_be_diverged_in_every_run():
    low, high = 0.3 + 0.01 * ONE, 0.5 + 0.01 * TWO
    assert _said(diverged=GONE, gone=low, sgd=high) == "Nobody can be called the best: gone diverged in every run."
    both = _said(diverged={"gone": [True], "too": [True]}, gone=low, too=0.3 + 0.01 * TWO, sgd=high)
    assert both == "Nobody can be called the best: gone and too diverged in every run."


def test_one_of_which_most_runs_diverged_is_doubted_where_it_is_called_good():
    adam, sgd = 0.5 + 0.01 * ONE, 0.6 + 0.02 * TWO
    six = [True] * 6 + [False] * 4
    said = _said(diverged={"adam": six, "sgd": six}, adam=adam, sgd=sgd)
    assert said == (
        "adam is the best: its validation loss is 0.083 to 0.12 lower than the next best. But adam diverged in 6 of 10 runs."
    )
    assert _said(diverged={"adam": six[1:], "sgd": six}, adam=adam, sgd=sgd) == (
        "adam is the best: its validation loss is 0.083 to 0.12 lower than the next best. But adam diverged in 5 of 9 runs."
    )
    assert "But" not in _said(diverged={"adam": [*six[1:], False], "sgd": six}, adam=adam, sgd=sgd)
    near = _said(diverged={"adam": six, "adamw": six}, adam=adam, adamw=0.502 + 0.01 * TWO, margin=0.05)
    assert near.endswith(" of each other. But adam diverged in 6 of 10 runs and adamw diverged in 6 of 10 runs.")
    worse = _said(diverged={"sgd": six}, adam=0.5 + 0.01 * ONE, sgd=0.51 + 0.01 * ONE, margin=0.05)
    assert worse.endswith(" lower than the next best. But sgd diverged in 6 of 10 runs."), "it is called as good"
    gone = {**GONE, "adam": [True, True, False]}
    assert _said(diverged=gone, adam=adam, gone=np.full(10, 2.3)) == (
        "adam is the best: gone diverged in every run. But adam diverged in 2 of 3 runs."
    )


def test_ratios():
    said = _said(RATIO, adam=np.log(1e-6) + 0.1 * ONE, sgd=np.log(1e-5) + 0.1 * TWO, margin=np.log(1.2))
    assert said == "adam is the best: its validation loss is 0.089 to 0.11 times that of the next best."
    near = {"adam": 0.5 + 0.01 * ONE, "adamw": 0.502 + 0.01 * TWO}
    assert _said(RATIO, **near, margin=np.log(1.2)) == (
        "adam and adamw are equivalent: their validation losses are within a factor of 1.2 of each other."
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (number(0.0314159), "0.031"),
        (number(12345.0), "12,000"),
        (number(3e-6), "0.000003"),
        (number(3e-9), "3.0e-09"),
        (number(float("inf")), "infinite"),
        (ratio_text(2.13), "2.1"),
        (ratio_text(1.04), "1.04"),
        (ratio_text(0.998), "0.998"),
        (count(1, "seed"), "1 seed"),
        (count(1200, "seed"), "1,200 seeds"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_and_lists(text, wanted):
    assert text == wanted
