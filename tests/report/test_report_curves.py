"""The curves: smoothing against NumPy, names that do not overlap, lines that can be seen."""

import io

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.report import curves, style
from ravine.report.curves import Curve


def test_smoothing_is_the_mean_of_the_last_steps():
    losses = np.random.default_rng(0).random(30)
    expected = [losses[max(0, i - 6) : i + 1].mean() for i in range(30)]
    assert np.allclose(curves.smoothed(losses, 7), expected)
    assert np.array_equal(curves.smoothed(losses, 1), losses)
    assert np.allclose(curves.smoothed(losses[:3], 7), [losses[: i + 1].mean() for i in range(3)])


def test_smoothing_is_not_spoilt_by_what_came_long_before():
    assert curves.smoothed([1e300, 1e-5, 1e-5, 1e-5], 2)[-1] == 1e-5
    assert np.isfinite(curves.smoothed([1.0, 2.0, np.nan], 2)).tolist() == [True, True, False]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_names_are_spread_in_their_order_inside_the_picture(wanted):
    gap = 0.05
    places = curves.spread(wanted, gap)
    order = np.argsort(places)
    assert (np.diff(np.array(wanted)[order]) >= 0).all()
    assert (np.diff(np.array(places)[order]) >= gap * (1 - 1e-6)).all()
    assert min(places) >= -1e-9
    assert max(places) <= 1 + 1e-9


def test_names_with_room_stay_where_their_lines_end():
    assert curves.spread([0.9, 0.1, 0.5], 0.05) == [0.9, 0.1, 0.5]
    assert curves.spread([0.5, 0.5], 0.1) == pytest.approx([0.55, 0.45])


def test_the_axes_say_what_they_show():
    many = [Curve(f"o{i}", np.geomspace(2, 10.0**-i, 40)) for i in range(9)]
    figure = curves.draw([*many, Curve("torch", many[0].losses, reference=True)], title="t", quantity="loss", window=5)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "loss, mean of the last 5 steps"
    assert {text.get_text() for text in axes.texts} == {*(c.label for c in many), "torch"}
    drawn = axes.lines[:10]
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn}) == 10
    assert drawn[9].get_zorder() > max(line.get_zorder() for line in drawn[:9])
    heights = sorted(text.get_position()[1] for text in axes.texts)
    assert min(np.diff(heights)) > 0.05
    image = matplotlib.image.imread(io.BytesIO(style.png(figure)))
    assert image.shape[1] > 1000
    assert image[..., :3].std() > 0.05


def test_looks_differ_for_as_many_optimizers_as_there_are():
    assert len({style.line(i, False) for i in range(30)}) == 30


def test_a_diverged_curve_is_named_so_and_does_not_stretch_the_picture():
    tame = Curve("tame", [2.0, 1.0, 0.5, 0.2])
    wild = Curve("wild", [2.0, 1e100, np.inf])
    broken = Curve("broken", [np.nan])
    (axes,) = curves.draw([tame, wild, broken], title="", quantity="loss").axes
    assert axes.get_ylim()[1] < 20
    texts = {text.get_text() for text in axes.texts}
    assert texts == {"tame", "wild (diverged at step 3)", "broken (diverged at step 1)"}


@pytest.mark.parametrize("losses", [[1.0], [0.0, 0.0], [np.nan], [3.0, 3.0, 3.0], [1e-300, 1e300]])
def test_a_picture_of_any_losses_can_be_made(losses):
    assert style.png(curves.draw([Curve("a", losses)], title="", quantity="loss")).startswith(b"\x89PNG")
