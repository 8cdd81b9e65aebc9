"""Search spaces and their points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ravine.comparison._study.spaces import edges, points, spaces_of
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.errors import OptionError
from ravine.optim.search import Range

LR = Range(1e-4, 1.0)


def test_values_along_each_scale():
    assert [LR.value(s) for s in (0, 0.25, 0.5, 1)] == pytest.approx([1e-4, 1e-3, 1e-2, 1.0])
    assert Range(-1, 3, "linear").value(0.25) == pytest.approx(0.0)
    momentum = Range(0.9, 0.999, "complement")
    assert [momentum.value(s) for s in (0, 0.5, 1)] == pytest.approx([0.9, 0.99, 0.999])


@given(st.floats(0, 1), st.sampled_from([LR, Range(0.5, 0.999, "complement"), Range(-2, 5, "linear")]))
def test_position_is_the_inverse_of_value(position, space):
    assert space.position(space.value(position)) == pytest.approx(position, abs=1e-9)


def test_points_fill_a_range_evenly_and_go_on():
    for seed in range(20):
        found = [p["lr"] for p in points({"lr": LR}, 16, seed=seed)]
        positions = sorted(LR.position(v) for v in found)
        assert all(0 <= s <= 1 for s in positions)
        assert np.diff(positions) == pytest.approx(1 / 16), "a grid, whose place the seed decides"
        assert points({"lr": LR}, 4, first=12, seed=seed) == points({"lr": LR}, 16, seed=seed)[12:]
    assert points({"lr": LR}, 4, seed=3) != points({"lr": LR}, 4, seed=4)


SPACE = {"lr": LR, "beta1": Range(0.5, 0.99, "complement")}


def positions(seeds, count=4, first=0, space=SPACE):
    """Where points lie in their space: (seeds, points, hyperparameters)."""
    drawn = [points(space, count, first=first, seed=seed) for seed in seeds]
    return np.array([[[space[n].position(v) for n, v in p.items()] for p in some] for some in drawn])


@pytest.mark.parametrize("first", [0, 4])
def test_every_place_is_as_likely_as_any_other(first):
    """Each point by itself, in each dimension; near the ends of a range, too."""
    found = positions(range(2000), 5, first)
    for number in range(5):
        for dimension in range(2):
            values = found[:, number, dimension]
            assert stats.kstest(values, "uniform").pvalue > 1e-3
            for low, high in ((0.0, 0.02), (0.98, 1.0), (0.49, 0.51)):
                near = int(((values >= low) & (values < high)).sum())
                assert stats.binomtest(near, 2000, 0.02).pvalue > 1e-3
        assert abs(stats.pearsonr(found[:, number, 0], found[:, number, 1]).statistic) < 0.08, "of each other, as well"


def tunings(study_seed=0, space=SPACE):
    configs = tuple(OptimizerConfig(label, space) for label in ("sgd", "adam"))
    spec = StudySpec("digits", configs, steps=10, looks=(1000,), seed=study_seed)
    return stage(spec, {}).tunings


def test_the_points_of_two_optimizers_and_of_two_seeds_know_nothing_of_each_other():
    """Were they shared, the luck of a grid would be the same for all seeds of a pair of optimizers."""
    one, other = [[LR.position(t.points(n)[0]["lr"]) for n in range(2000)] for t in tunings()]
    assert abs(stats.pearsonr(one, other).statistic) < 0.08
    assert abs(stats.pearsonr(one[1:], one[:-1]).statistic) < 0.08
    assert stats.kstest((np.array(one) - other) % 0.25 * 4, "uniform").pvalue > 1e-3, "nor do the grids"
    assert stats.kstest(np.array(one) % 0.25 * 4, "uniform").pvalue > 1e-3
    (third, _) = tunings(study_seed=1)
    again = [LR.position(third.points(n)[0]["lr"]) for n in range(2000)]
    assert abs(stats.pearsonr(one, again).statistic) < 0.08, "nor another study"


def test_nothing_searched_is_one_point():
    assert points({}, 4) == [{}]
    assert points({}, 4, first=4) == []


def test_an_edge_is_the_least_or_largest_value_that_was_tried():
    tried = [{"lr": v} for v in (1e-3, 1e-2, 1e-1)]
    assert edges({"lr": LR}, tried, {"lr": 1e-1}) == [("lr", "high")]
    assert edges({"lr": LR}, tried, {"lr": 1e-3}) == [("lr", "low")]
    assert edges({"lr": LR}, tried, {"lr": 1e-2}) == []
    assert edges({}, [{}], {}) == []


def test_widening_adds_a_power_of_ten():
    assert LR.beyond("high") == Range(1.0, 10.0)
    low = LR.beyond("low")
    assert (low.low, low.high) == (pytest.approx(1e-5), 1e-4)
    union = LR.union(low)
    assert (union.low, union.high) == (pytest.approx(1e-5), 1.0)
    assert Range(0.9, 0.99, "complement").beyond("high").high == pytest.approx(0.999)
    assert Range(0.0, 4.0, "linear").beyond("low") == Range(-1.0, 0.0, "linear")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1.0, 1.0), "empty"),
        ((2.0, 1.0), "empty"),
        ((0.0, 1.0), "above 0"),
        ((0.5, 1.0, "complement"), "below 1"),
        ((0.1, math.inf), "finite"),
        ((0.1, 1.0, "square"), "'log', 'linear' or 'complement'"),
        ((True, 2.0), "finite"),
    ],
)
def test_impossible_ranges(arguments, text):
    with pytest.raises(OptionError, match=text):
        Range(*arguments)


def test_a_range_is_not_expanded_beyond_what_the_hyperparameter_may_be():
    share = Range(0.1, 0.9, "linear", least=0.0, most=1.0)
    assert (share.beyond("low").low, share.beyond("low").high) == (0.0, 0.1)
    assert share.beyond("high").high == 1.0
    assert (share.open("low"), share.open("high")) == (True, True)
    whole = share.union(share.beyond("low")).union(share.beyond("high"))
    assert (whole.open("low"), whole.open("high")) == (False, False)
    tried = [{"x": 0.1}, {"x": 0.5}]
    assert edges({"x": whole}, tried, {"x": 0.1}) == []
    assert edges({"x": share}, tried, {"x": 0.1}) == [("x", "low")]
    assert Range(0.1, 0.5, "log", most=1.0).beyond("high").high == 1.0


def test_a_space_without_an_optimizer_is_answered_with_the_nested_form():
    with pytest.raises(
        OptionError, match=r"space=\{'sgd': \{'lr': log\(0.0001, 1\), 'momentum': complement\(0.5, 0.9\)\}\}"
    ):
        spaces_of({"lr": LR, "momentum": Range(0.5, 0.9, "complement")}, ["sgd", "adam"])


def test_a_space_file(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        '[sgd]\nlr = { low = 1e-3, high = 10 }\nmomentum = { low = 0.5, high = 0.99, scale = "complement" }\n'
    )
    assert spaces_of(path, ["sgd", "adam"]) == {
        "sgd": {"lr": Range(1e-3, 10), "momentum": Range(0.5, 0.99, "complement")}
    }


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[sdg]\nlr = { low = 1e-3, high = 10 }", "Did you mean 'sgd'"),
        ("[sgd]\n", "empty"),
        ("[sgd]\nlr = 3", "low = 1e-4"),
        ("[sgd]\nlr = { low = 3, high = 1 }", r"\[sgd\] lr: The range from 3 to 1 is empty"),
        ("[sgd]\nlr = { low = 1e-6, high = 1 }", "more than 4 powers of ten"),
        ("[sgd", "not TOML"),
    ],
)
def test_space_files_that_are_none(text, wanted, tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=wanted):
        spaces_of(path, ["sgd"])
    with pytest.raises(OptionError, match="cannot be read"):
        spaces_of(str(tmp_path / "none.toml"), ["sgd"])


def test_the_table_of_an_optimizer_of_ones_own_is_named_in_quotes(tmp_path):
    path, label = tmp_path / "space.toml", "my_opt.py:MyAdam"
    row = "lr = { low = 1e-3, high = 1 }"
    for written in ("[MyAdam]\n", f"[{label}]\n", ""):
        path.write_text(written + row)
        with pytest.raises(OptionError) as error:
            spaces_of(path, [label, "sgd"])
        head = str(error.value)[str(error.value).index('["') :].partition("]")[0] + "]"
        path.write_text(f"{head}\n{row}")
        assert spaces_of(path, [label, "sgd"]) == {label: {"lr": Range(1e-3, 1)}}, "what it says to write is right"


def test_points_do_not_depend_on_the_order_in_which_a_space_is_written():
    lr, beta = Range(1e-4, 1.0), Range(0.9, 0.99, "complement")
    one, other = points({"lr": lr, "beta1": beta}, 5, seed=3), points({"beta1": beta, "lr": lr}, 5, seed=3)
    assert one == other
    assert [list(point) for point in one] == [["lr", "beta1"]] * 5


def test_below_a_momentum_of_0_there_is_nothing_to_widen():
    space = {"momentum": Range(0.0, 0.99, "complement"), "lr": Range(1e-3, 1.0)}
    tried = [{"momentum": m, "lr": lr} for m, lr in ((0.1, 0.1), (0.5, 0.01), (0.9, 0.9))]
    assert edges(space, tried, tried[0]) == []
    assert edges(space, tried, tried[2]) == [("momentum", "high"), ("lr", "high")]
    assert edges(space, tried, tried[1]) == [("lr", "low")]
