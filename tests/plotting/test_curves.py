"""Lines: smoothing against NumPy, names that do not overlap, looks that differ."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine._plotting import curve_lines as curves
from ravine._plotting import style


def test_smoothing_is_the_mean_of_the_last_steps():
    losses = np.random.default_rng(0).random(30)
    expected = [losses[i - min(7, max(1, i // 4)) : i].mean() for i in range(1, 31)]
    assert np.allclose(curves.smoothed(losses, 7), expected)
    assert np.array_equal(curves.smoothed(losses, 1), losses)
    assert np.array_equal(curves.smoothed(losses[:3], 7), losses[:3])


def test_high_first_losses_are_not_held_until_the_window_is_full():
    losses = 1 + 1000 * np.exp(-np.arange(500.0))
    assert (curves.smoothed(losses, 50) < 2 * losses + 1)[20:].all()


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


def test_looks_differ_for_as_many_optimizers_as_there_are():
    assert len({style.line(i, False) for i in range(30)}) == 30


def test_names_are_shortened_to_one_line():
    assert curves.shortened("two\nlines\x00") == r"two\nlines\x00"
    assert curves.shortened("long." * 30) == f"{('long.' * 30)[:27]}…g.long.long."
    assert curves.shortened("long." * 30, 28) == f"{('long.' * 30)[:15]}…g.long.long."
