"""One step as the output of a notebook, from its sentence and its cells."""

from __future__ import annotations

from collections.abc import Sequence

from ravine._plotting.notebook_html import html_rows, output, paragraph, scrolling


def step_html(text: str, cells: Sequence[Sequence[str]]) -> str:
    """The output of a step: the first line of its text, and its table."""
    return output(headline(text), step_rows("", cells))


def headline(text: str) -> str:
    """The first line of a text as an answer."""
    first = text.partition("\n")[0].rstrip(".")
    return first[:1].upper() + first[1:]


def step_rows(head: str, cells: Sequence[Sequence[str]]) -> str:
    """The table, all parameters together first: of many rows it is the one that is read."""
    heads, *rows = cells
    if not rows:
        return ""
    first = rows[-1:] if len(rows) > 1 else []
    ordered = [*first, *rows[: len(rows) - len(first)]]
    return paragraph(head, soft=False) + scrolling(html_rows(heads, ordered, 0 if first else None))
