"""The table on a terminal."""

import io
import sys

import pytest
from rich.console import Console

from ravine._plotting import terminal_tables as tables


def shown(width, heads, rows, title=""):
    console = Console(file=io.StringIO(), width=width)
    console.print(tables.table(heads, rows, title))
    return console.file.getvalue()


def test_a_row_of_full_width_fits_into_80_columns():
    heads = ["optimizer", "lr", "train loss", "test loss", "accuracy", "s/epoch", "in step"]
    row = ["torch-rmsprop:alpha=0.9", "0.0005", "1.23e-05", "1.23e-05", "100.0%", "0.0098", "37%"]
    text = shown(80, heads, [row, row], "digits")
    for cell in row:
        assert text.count(cell) >= 2
    assert max(map(len, text.splitlines())) <= 80


LABELS = ["sgd", "momentum:momentum=0.9,nesterov=False", "torch-rmsprop:alpha=0.9"]
HEADS = ["optimizer", "best point", "median steps", "validation loss", "ms per step"]
ROWS = [[label, "lr 0.00616\nalpha 0.986", "not reached", "0.3568 ± 0.0036\n(2 of 3 runs)", "2"] for label in LABELS]


@pytest.mark.parametrize("width", [40, 50, 60, 70, 80, 100, 140])
def test_no_word_or_number_is_broken_however_narrow_the_terminal(width):
    text = shown(width, HEADS, ROWS, "digits")
    assert max(map(len, text.splitlines())) <= width
    for word in {*["optimizer", "reached", "0.3568", "0.0036", "0.00616", "0.986", "alpha"]} - (
        {"optimizer"} if width < 60 else set()
    ):
        assert text.count(word) >= (1 if word == "optimizer" else 3), word
    for part in (part for label in LABELS for part in label.replace(":", ":\n").replace(",", ",\n").split("\n")):
        assert part in text
    assert text.index("sgd") < text.index("momentum:") < text.index("torch-rmsprop:")


def test_where_a_table_does_not_fit_each_row_is_a_block():
    lines = [line.rstrip() for line in shown(50, HEADS, ROWS[:1], "digits").splitlines()]
    assert lines == [
        "digits",
        "",
        "sgd",
        "  best point       lr 0.00616, alpha 0.986",
        "  median steps     not reached",
        "  validation loss  0.3568 ± 0.0036 (2 of 3 runs)",
        "  ms per step      2",
        "",
    ]


def test_a_table_without_rows_has_its_heads():
    assert "lr" in shown(80, ["optimizer", "lr"], [])


@pytest.mark.parametrize("width", [100, 30])
@pytest.mark.parametrize(("best", "bold"), [([], []), ([0], ["0.1"]), ([0, 2], ["0.1", "0.3"]), ([0, 1, 2], [])])
def test_the_best_are_bold_unless_all_are(width, best, bold):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard", no_color=False)
    rows = [["the first optimizer", "0.1"], ["the second optimizer", "0.2"], ["the third optimizer", "0.3"]]
    console.print(tables.table(["optimizer", "a long head of a column"], rows, best=best))
    lines = console.file.getvalue().splitlines()
    assert [
        number for line in lines for number in ("0.1", "0.2", "0.3") if number in line and "\x1b[1m" in line
    ] == bold


def test_cells_are_text_and_not_markup():
    assert "[red]x[/red]" in shown(80, ["optimizer", "a"], [["[red]x[/red]", "[bold]"]])


def test_columns_stand_below_each_other_where_characters_are_replaced(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    made = tables.table(["optimizer", "loss", "β"], [["sgd", "0.15 ± 0.11", "1"], ["adam", "0.3", "2"]])
    monkeypatch.undo()
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), width=60)
    console.print(made)
    console.file.flush()
    lines = console.file.buffer.getvalue().decode("ascii").splitlines()
    assert any("0.15 +- 0.11" in line for line in lines)
    assert any("beta" in line for line in lines)
    assert len({len(line) for line in lines if line.strip()}) == 1
