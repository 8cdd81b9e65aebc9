"""The intervals that a notebook draws beside its table: on one axis, with a hollow dot where an optimizer is not the best."""

import re

import pytest

from ravine.comparison._report.difference_data import Difference, Differences
from ravine.comparison._report.notebook_report import table_with_intervals
from ravine.comparison._report.result_table import AGAINST


def drawn(differences):
    """The places of the line, the bar's ends and the dot, from 0 to 100, and whether the dot is filled, for each row."""
    rows = [[row.label, row.interval_text] for row in differences.rows]
    page = table_with_intervals(["optimizer", AGAINST], rows, differences)
    found = re.findall(r'd="M([\d.]+) 0V16".*?d="M([\d.]+) 8H([\d.]+)".*?cx="([\d.]+)".*?fill="([^"]+)"', page)
    return [(*map(float, places), fill != "none") for *places, fill in found]


def test_bars_lie_on_one_axis_and_only_what_may_be_the_best_is_filled():
    rows = [
        Difference("a", -0.1, -0.2, 0.0, "may be the best"),
        Difference("b", 0.1, 0.0, 0.2, "not the best, but within the margin"),
        Difference("c", 0.2, 0.1, 9.0, "not the best"),
    ]
    a, b, c = drawn(Differences(rows, False, False, (-0.2, 0.2), (-0.3, 0.3)))
    assert {a[0], b[0], c[0]} == {50.0}  # no difference, in the middle of the limits
    assert a[1] < a[3] < a[2] == 50.0 == b[1] < b[3] < b[2]
    assert c[2] == 100.0  # further than the limits
    assert [a[4], b[4], c[4]] == [True, False, False]


def test_all_that_may_be_the_best_are_bold_or_none():
    rows = [
        Difference("a", -0.1, -0.2, 0.1, "may be the best"),
        Difference("b", 0.1, -0.1, 0.2, "may be the best"),
        Difference("c", 0.2, 0.1, 9.0, "not the best"),
    ]

    def bold(rows):
        cells = [[row.label, row.interval_text] for row in rows]
        page = table_with_intervals(["optimizer", AGAINST], cells, Differences(rows, False, False, (-1, 1), (0, 0)))
        return re.findall(r'<tr class="best"><td>(\w)', page)

    assert bold(rows) == ["a", "b"]
    assert bold(rows[:2]) == []


def test_no_difference_of_a_ratio_is_one():
    rows = [Difference("a", 1.0, 0.5, 1.5, "may be the best", True)]
    ((line, low, high, middle, _),) = drawn(Differences(rows, True, False, (0.5, 1.5), (0.9, 1.1)))
    assert line == middle == 50.0
    assert line - low == high - line


def test_the_margin_lies_behind_each_bar_around_no_difference():
    rows = [Difference("a", 0.0, -0.05, 0.05, "may be the best")]
    shown = Differences(rows, False, False, (-0.4, 0.4), (-0.2, 0.2))
    page = table_with_intervals(["optimizer", AGAINST], [["a", rows[0].interval_text]], shown)
    left, width = map(float, re.search(r'<rect x="([\d.]+)" width="([\d.]+)"', page).groups())
    assert left == pytest.approx(50 - width / 2, abs=0.1)
    assert width == pytest.approx(
        100 * 0.4 / 0.88, abs=0.1
    )  # of limits that are 0.8 apart, and a twentieth of that on each side
