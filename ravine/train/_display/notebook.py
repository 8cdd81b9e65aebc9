"""The display of a notebook: an HTML table that is updated in place, with a bar below it while an epoch runs.

Needs only IPython, no widgets. All text is escaped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from typing import Any

from ravine.train._display.cells import Layout, cell
from ravine.train._display.redrawn import Pace, Redrawn


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook, and not IPython in a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of epochs as HTML, with the cells of the other displays."""
    return f"<table>{_head(columns)}{''.join(_row(columns, cells) for cells in rows)}</table>"


class Notebook(Redrawn):
    """Shows the table in the output of the running cell, as HTML and as plain text."""

    def __init__(self, pace: Pace | None = None) -> None:
        super().__init__(pace)
        self._columns: Sequence[str] = ()
        self._html: list[str] = []
        self._text: list[str] = []
        self._running = False
        self._handle: Any = None

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        super().begin(columns, epochs, first)
        self.columns(columns)
        self._running = True
        self._draw()

    def columns(self, columns: Sequence[str]) -> None:
        self._layout = Layout(columns, self._progress.epochs)
        self._columns = columns
        self._text += self._layout.header()
        self._html.append(_head(columns))

    def count(self, title: str, total: int) -> None:
        super().count(title, total)
        self._running = True
        self._draw()

    def row(self, cells: Sequence[object]) -> None:
        super().row(cells)
        self._text += self._layout.row(cells)
        self._html.append(_row(self._columns, cells))
        self._draw_for("row")

    def say(self, sentence: str) -> None:
        self._text.append(sentence)
        style = "text-align: left; font-style: italic"
        self._html.append(_tr(f'<td colspan="{len(self._columns) or 1}" style="{style}">{escape(sentence)}</td>'))
        self._draw()

    def end(self) -> None:
        super().end()
        if self._running:
            self._running = False
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        text, html = list(self._text), f"<table>{''.join(self._html)}</table>" if self._html else ""
        if self._running:
            progress = self._progress
            facts = "  ".join([progress.head, *filter(None, progress.facts().values())])
            text.append(facts)
            value = "" if progress.fraction is None else f' value="{progress.fraction:.4f}"'
            html += (
                f'<div><progress max="1"{value}></progress> <span style="white-space: pre">{escape(facts)}</span></div>'
            )
        bundle = {"text/plain": "\n".join(text), "text/html": html}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _head(columns: Sequence[str]) -> str:
    return _tr("".join(f"<th>{escape(name)}</th>" for name in columns))


def _row(columns: Sequence[str], cells: Sequence[object]) -> str:
    texts = [escape(cell(name, value)) for name, value in zip(columns, cells, strict=True)]
    return _tr("".join(f"<td>{text}</td>" for text in texts))


def _tr(cells: str) -> str:
    return f"<tr>{cells}</tr>"
