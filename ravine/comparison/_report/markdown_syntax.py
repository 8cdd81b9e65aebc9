"""GitHub-flavoured Markdown in which names and sentences stay what they are, whatever stands in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from ravine._fallback_characters import visible
from ravine.comparison._report.report_tables import Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&!$@])")


def code(name: str) -> str:
    """A name as a code span: nothing in it is markup, a link or a mention."""
    shown = visible(name) or " "
    fence = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") or shown[0] == shown[-1] == " " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def prose(sentence: str, names: Collection[str] = ()) -> str:
    """A sentence as plain text in one line, with these names in it as code spans."""
    wanted = sorted((name for name in names if name.strip()), key=len, reverse=True)
    pattern = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in wanted)
    parts = re.split(f"({pattern})", sentence) if pattern else [sentence]
    return "".join(code(part) if i % 2 else _plain(part) for i, part in enumerate(parts))


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", "".join(c if c.isprintable() else " " for c in text))


def fenced(content: str, language: str = "") -> str:
    """A block of code."""
    fence = "`" * max(3, _longest_run(content) + 1)
    return f"{fence}{language}\n{content}\n{fence}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table, readable as text too; the columns ``left`` are words, all others numbers, which end below each other.

    Cells are Markdown; a bar in one is escaped, as it must be even inside a code span.
    """
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (heads, *rows)]
    widths = [max(3, *(_width(row[i]) for row in cells)) for i in range(len(heads))]
    rule = [":" + "-" * (w - 1) if i in left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    padded = [[_pad(c, w, i in left) for i, (c, w) in enumerate(zip(row, widths, strict=True))] for row in cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:]))


def captioned(shown: Table) -> list[str]:
    """A table of optimizers, and its caption below it."""
    of_optimizers = set(shown.columns) - {"optimizer"} <= {row[0] for row in shown.rows}
    heads = [shown.columns[0], *((code if of_optimizers else prose)(head) for head in shown.columns[1:])]
    return [table(heads, [[code(row[0]), *row[1:]] for row in shown.rows]), prose(f"{shown.caption}.")]


def _pad(cell: str, width: int, left: bool) -> str:
    space = " " * (width - _width(cell))
    return cell + space if left else space + cell


def _width(cell: str) -> int:
    """How many columns of a fixed-width font a text takes: East Asian characters take two, accents none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in cell)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
