"""The text of numbers and times, and rows that stand under their header whatever they hold."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from ravine.train._display.cells import Layout, duration, number

NAMES = st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=6)
VALUES = st.one_of(st.floats(), st.integers(-(10**30), 10**30), st.text(max_size=30), st.booleans())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.302585, "2.3026"),
        (0.0862139, "0.086214"),
        (1.234e-07, "1.23e-07"),
        (9.999999, "10.000"),
        (0.0, "0.0000"),
        (-0.5, "-0.50000"),
        (123456.7, "123457"),
        (1e30, "1.00e+30"),
        (1e-300, "1.0e-300"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_has_few_digits(value, text):
    assert number(value) == text


@settings(deadline=None)
@given(st.floats(-1e308, 1e308), st.sampled_from([4, 5]))
def test_a_number_is_narrow_and_near_what_it_stands_for(value, digits):
    text = number(value, digits)
    assert len(text.lstrip("-")) <= digits + 3
    usual = 1e-99 < abs(value) < 1e99
    assert float(text) == pytest.approx(value, rel=0.51 * 10.0 ** -(digits - 3 if usual else digits - 4), abs=0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (1.34, "1.3 s"),
        (9.96, "00:10"),
        (59.6, "01:00"),
        (3723, "1:02:03"),
        (35999, "9:59:59"),
        (43500, "12h 05m"),
        (370000, "4d 6h"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_time_reads_as_people_write_it(seconds, text):
    assert duration(seconds) == text


@settings(deadline=None)
@given(st.floats(0, 1e9))
def test_a_time_fits_its_column(seconds):
    assert len(duration(seconds)) <= 7


@settings(max_examples=40, deadline=None)
@given(names=NAMES, rows=st.lists(st.lists(VALUES, min_size=6, max_size=6), max_size=3), limit=st.integers(12, 100))
def test_every_row_has_the_boundaries_of_the_header(names, rows, limit):
    for columns, most in ((["epoch", *names, "time"], None), (["epoch", *names, "time"], limit)):
        layout = Layout(columns, 10, most)
        header = layout.header()
        assert most is not None or len(header) == 1
        widths = {cell_len(line) for line in header}
        for number_of_epoch, row in enumerate(rows):
            lines = layout.row([number_of_epoch, *row[: len(names)], 1.0])
            assert {cell_len(line) for line in lines} <= widths
            assert len(lines) == 1 or most is not None
            assert all("\n" not in line and "\x1b" not in line for line in lines)


def test_columns_end_where_their_heads_end_and_points_stand_below_each_other():
    layout = Layout(["epoch", "train_loss", "a_very_long_name_of_a_metric", "accuracy", "time"], 10)
    (header,) = layout.header()
    rows = [layout.row([9, 2.3026, 0.5, 0.98, 1.3])[0], layout.row([10, -0.0123, 1e-7, 12.5, 3723.0])[0]]
    ends = [header.index(name) + len(name) for name in layout.columns]
    assert {row.rindex(".", 0, ends[1]) for row in rows} == {header.index("train_loss") + 3}
    for row in rows:
        assert len(row) == len(header)
        assert all(row[end : end + 2] in ("  ", "") for end in ends)
        assert row[ends[0] - 1].isdigit()
        assert not row[-1].isspace()


@pytest.mark.parametrize("limit", [40, 41, 49, 50, 80])
def test_the_usual_table_needs_one_line_from_forty_characters_on(limit):
    layout = Layout(["epoch", "train_loss", "valid_loss", "accuracy", "time"], 999, limit)
    assert all(len(line) <= limit for line in layout.header())
    (row,) = layout.row([999, -1.2e-10, 123456.0, 0.03125, 86399.0])
    assert len(row) <= limit
    if limit < 50:
        assert row.replace("h 59", "h59").split() == ["999", "-1.2e-10", "123456", "0.03125", "23h59m"]
    else:
        assert len(layout.header()) == 1


def test_more_columns_than_fit_are_folded_beside_the_epoch():
    layout = Layout(["epoch", "train_loss", "valid_loss", "accuracy", "f1", "time"], 10, 30)
    assert layout.row([1, 0.25, 0.5, 0.75, 0.125, 1.3]) == [
        "    1  0.2500   0.5000 ",
        "       0.7500   0.1250 ",
        "        1.3 s",
    ]
    assert [len(line) for line in layout.header()] == [23, 23, 23, 13]


def test_a_number_of_cells_that_is_not_the_columns_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        Layout(["epoch", "time"], 3).row([1])
