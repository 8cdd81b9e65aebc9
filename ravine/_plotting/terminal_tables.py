"""Tables for the terminal that stay readable where it is narrow: no cell is broken within a word or a number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ravine._fallback_characters import printable

_EDGE, _GAP = 1, 2  # columns left and right of a table, and between two of its columns
_INDENT = "  "


@dataclass(frozen=True)
class FittedTable:
    """A table whose first column is text and whose others are numbers; the rows of those numbers in ``best`` are bold.

    Where the terminal is too narrow, cells are broken between words, then the texts of the first column after ``:`` and
    ``,``. Where even that does not fit, each row becomes a block with a line for each cell. Cells are plain text: no
    markup in them is obeyed.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    best: Collection[int] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heads = [self.heads[0], *(head if "\n" in head else head.replace(" ", "\n", 1) for head in self.heads[1:])]
        lines = max(head.count("\n") for head in heads)
        heads = ["\n" * (lines - head.count("\n")) + head for head in heads]  # they end on the same line
        broken = [[row[0].replace(":", ":\n").replace(",", ",\n"), *row[1:]] for row in self.rows]
        for rows in (self.rows, broken):
            widths = _widths(heads, rows, options.max_width)
            if widths is not None:
                yield self._table(heads, rows, widths)
                return
        yield from self._blocks()

    def _table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD,
            title=self.title or None,
            title_justify="left",
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for index, (head, width) in enumerate(zip(heads, widths, strict=True)):
            # overflow="fold": a column that must not wrap would push the names out of a narrow terminal
            table.add_column(Text(head), width=width, justify="right" if index else "left", overflow="fold")
        for index, row in enumerate(rows):
            table.add_row(*map(Text, row), style=self._style(index))
        return table

    def _blocks(self) -> RenderResult:
        """Each row by itself: its first cell, and below it the heads with their cells."""
        if self.title:
            yield Text(self.title, style="italic")
        for index, (first, *cells) in enumerate(self.rows):
            yield Text(f"\n{first}", style="bold")
            grid = Table.grid(padding=(0, _GAP, 0, 0))
            grid.add_column(no_wrap=True)
            grid.add_column(overflow="fold")
            for head, cell in zip(self.heads[1:], cells, strict=True):
                grid.add_row(
                    Text(_INDENT + head.replace("\n", " ")),
                    Text(cell.replace("\n(", " (").replace("\n", ", ")),
                    style=self._style(index),
                )
            yield grid
        yield Text()

    def _style(self, index: int) -> str:
        # where all are, none stands out
        return "bold" if index in self.best and len(self.best) < len(self.rows) else ""


def _widths(heads: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """A width for each column such that no word is broken and no line of a head; None where there is no room for that."""
    columns = list(zip(*rows, strict=True)) or [() for _ in heads]
    least = [max(map(cell_len, head.split("\n"))) for head in heads]

    def fitting(width: int, column: int) -> int:
        return max(least[column], *(_wrapped(cell, width) for cell in columns[column]), 0)

    widths = [fitting(room, column) for column in range(len(heads))]
    room -= 2 * _EDGE + _GAP * (len(heads) - 1)
    while sum(widths) > room:
        narrower = [fitting(width - 1, column) for column, width in enumerate(widths)]
        saved = [before - after for before, after in zip(widths, narrower, strict=True)]
        best = max(range(len(heads)), key=lambda column: (saved[column], column))
        if saved[best] <= 0:
            return None
        widths[best] = narrower[best]
    return widths


def _wrapped(cell: str, width: int) -> int:
    """How wide a cell is if its lines are broken between words so that they are at most so wide, as far as they can be."""
    widest = 0
    for line in cell.split("\n"):
        taken = 0
        for word in map(cell_len, line.split()):
            taken = taken + 1 + word if taken and taken + 1 + word <= width else word
            widest = max(widest, taken)
    return widest


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", best: Collection[int] = ()
) -> FittedTable:
    """A table for ``console.print``, as wide as the terminal at most; heads of two words, or with lines, stand on lines."""
    # what standard output cannot write is replaced before widths are measured: +- is wider than ±
    cells = [list(map(printable, row)) for row in rows]
    return FittedTable(list(map(printable, heads)), cells, printable(title), best)
