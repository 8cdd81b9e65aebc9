"""Parts of outputs in notebooks: axes, gaps, colours that are seen on light and dark pages, names that stay names."""

import math

import numpy as np
import pytest

from ravine._plotting.html import _luminance
from ravine._plotting.html_curves import Axis, HtmlLine, HtmlMark, curves_html, loss_axis, thinned
from ravine._plotting.notebook_html import FIRST, MOST_ROWS, SECOND, WRONG, html_rows, output


@pytest.mark.parametrize("colour", [FIRST, SECOND, WRONG])
def test_colours_are_seen_on_white_and_on_black(colour):
    light = _luminance([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) + 0.05
    assert 1.05 / light >= 3  # WCAG 1.4.11
    assert light / (_luminance([0x1E] * 3) + 0.05) >= 3  # the darker of usual themes are darker than this


@pytest.mark.parametrize(
    ("axis", "texts"),
    [
        (Axis(0, 10), ["0", "2", "4", "6", "8", "10"]),
        (Axis(0, 3, whole=True), ["0", "1", "2", "3"]),
        (Axis(0.1, 0.34), ["0.10", "0.15", "0.20", "0.25", "0.30"]),
        (Axis(0.03, 2.5, log=True), ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (Axis(1e-7, 10, log=True), ["1e-07", "1e-05", "0.001", "0.1", "10"]),
        (Axis(1, 1), ["1"]),
    ],
)
def test_ticks(axis, texts):
    assert [text for _, text in axis.ticks()] == texts
    places = [float(axis.place(value)) for value, _ in axis.ticks()]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)


def test_outliers_do_not_stretch_the_axis_and_a_long_fall_has_a_logarithm():
    falling = np.geomspace(2.0, 0.01, 50)
    assert loss_axis([falling]).high < 2.2
    assert loss_axis([np.append(falling, 1e9)]).high < 3
    assert loss_axis([falling], may_be_log=True).log
    assert not loss_axis([falling - 1], may_be_log=True).log
    assert not loss_axis([np.linspace(2, 1, 50)], may_be_log=True).log


def test_many_points_become_means_of_neighbours_and_gaps_stay():
    x, y = thinned(np.arange(1000), np.append(np.ones(500), np.full(500, math.nan)), 10)
    assert len(x) == 10
    assert x[0] == 49.5
    np.testing.assert_array_equal(y, [1] * 5 + [math.nan] * 5)
    _, y = thinned(np.arange(4), np.full(4, 1.7e308), 2)  # their sum is no double
    assert len(y) == 2


def test_names_are_text():
    hostile = "<script>&"
    axis = Axis(0, 1, hostile)
    line = HtmlLine(hostile, [0, 1], [0, 1], FIRST)
    page = output(
        hostile, curves_html([line], axis, axis, marks=[HtmlMark(hostile, 0.5, WRONG)], note=hostile, label=hostile)
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;&amp;") == 7
    assert "<script" not in html_rows([hostile], [[hostile]])


def test_a_table_has_an_end():
    page = html_rows(["a"], [[str(i)] for i in range(MOST_ROWS + 5)], best=0)
    assert page.count("<tr") == MOST_ROWS + 1
    assert '<tr class="best"><td>0</td>' in page
    assert "… and 5 rows more." in page
