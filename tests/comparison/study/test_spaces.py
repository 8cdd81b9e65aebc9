"""Search spaces and their points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.comparison._study.spaces import edge, points, spaces_of
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
    found = [p["lr"] for p in points({"lr": LR}, 16, seed=3)]
    positions = sorted(LR.position(v) for v in found)
    assert all(0 <= s <= 1 for s in positions)
    # a quasi-random sequence leaves no hole: 16 uniform draws have a gap over 0.15 in nine cases of ten
    assert max(np.diff([0, *positions, 1])) < 0.15
    assert points({"lr": LR}, 4, first=12, seed=3) == points({"lr": LR}, 16, seed=3)[12:]
    assert points({"lr": LR}, 4, seed=3) != points({"lr": LR}, 4, seed=4)


def test_two_optimizers_with_one_range_try_the_same_rates():
    assert points({"lr": LR}, 5, seed=1) == points({"lr": Range(1e-4, 1.0)}, 5, seed=1)


def test_an_edge_is_the_least_or_largest_value_that_was_tried():
    tried = [{"lr": v} for v in (1e-3, 1e-2, 1e-1)]
    assert edge({"lr": LR}, tried, {"lr": 1e-1}) == ("lr", "high")
    assert edge({"lr": LR}, tried, {"lr": 1e-3}) == ("lr", "low")
    assert edge({"lr": LR}, tried, {"lr": 1e-2}) is None
    assert edge({}, [{}], {}) is None


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
    assert edge({"x": whole}, tried, {"x": 0.1}) is None
    assert edge({"x": share}, tried, {"x": 0.1}) == ("x", "low")
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


def test_points_do_not_depend_on_the_order_in_which_a_space_is_written():
    lr, beta = Range(1e-4, 1.0), Range(0.9, 0.99, "complement")
    one, other = points({"lr": lr, "beta1": beta}, 5, seed=3), points({"beta1": beta, "lr": lr}, 5, seed=3)
    assert one == other
    assert [list(point) for point in one] == [["lr", "beta1"]] * 5


def test_below_a_momentum_of_0_there_is_nothing_to_widen():
    space = {"momentum": Range(0.0, 0.99, "complement"), "lr": Range(1e-3, 1.0)}
    tried = [{"momentum": m, "lr": lr} for m, lr in ((0.1, 0.1), (0.5, 0.01), (0.9, 0.9))]
    assert edge(space, tried, tried[0]) is None
    assert edge(space, tried, tried[2]) == ("momentum", "high")
    assert edge(space, tried, tried[1]) == ("lr", "low")
