"""Tables for the terminal, narrow enough for 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """A table whose first column is text and whose others are numbers, the first row the best one.

    Heads of two words stand on two lines. Cells are plain text: no markup in them is obeyed.
    """
    result = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for index, head in enumerate(heads):
        text = Text(head if index == 0 else head.replace(" ", "\n", 1))
        if index == 0:
            above = "\n" * any(" " in other for other in heads[1:])  # beside the second line of the others
            result.add_column(Text(above + head), overflow="fold")
        else:
            # a column that must not wrap would push the names out of a narrow terminal
            result.add_column(text, justify="right", overflow="fold")
    for index, row in enumerate(rows):
        result.add_row(*map(Text, row), style="bold" if index == 0 and len(rows) > 1 else "")
    return result
