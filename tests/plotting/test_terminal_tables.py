"""The table on a terminal."""

import io

from rich.console import Console

from ravine.plotting import _tables as tables


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


def test_cells_are_text_and_not_markup():
    assert "[red]x[/red]" in shown(80, ["optimizer", "a"], [["[red]x[/red]", "[bold]"]])
