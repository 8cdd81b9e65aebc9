"""What all outputs in a notebook share: one answer first, then tables and pictures that suit light and dark pages.

An output has no theme of its own: texts have the page's colour, and the two colours of lines are far enough from white and from
black (WCAG 1.4.11). Where a notebook that is not trusted loses its styles and pictures, words and tables remain: ``drawn``.
Notebooks have styles for tables of their own, which lay columns out one over the other where texts are long: what is needed is
said here again.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

#: Of the line that matters, of a second one, and of what went wrong: each at least 3:1 on white and on black.
FIRST, SECOND, WRONG = "#3d85c6", "#d9730d", "#d64545"
#: Rows that a table has at most; an output stays in its notebook for good.
MOST_ROWS = 400

_STYLE = (
    ".ravine{font-variant-numeric:tabular-nums;line-height:1.45}"
    ".ravine p,.ravine ul,.ravine ol{max-width:54em}"
    ".ravine p{margin:.2em 0 .5em}"
    ".ravine .soft{opacity:.78;font-size:.92em}"
    ".ravine .side{display:flex;flex-wrap:wrap;gap:.4em 2em;align-items:flex-start}"
    ".ravine .side>*{min-width:0;max-width:100%}"
    ".ravine .scroll{overflow:auto;max-height:24em}"
    ".ravine table{border-collapse:collapse;margin:.2em 0;font-size:1em;display:table;table-layout:auto;width:auto}"
    ".ravine th,.ravine td{padding:.15em .7em;text-align:right;white-space:nowrap;border:0;"
    "border-bottom:1px solid rgba(128,128,128,.35);background:none}"
    ".ravine thead th{font-weight:600;vertical-align:bottom}"
    ".ravine td:first-child,.ravine th:first-child{text-align:left;padding-left:0}"
    ".ravine .epochs td:first-child,.ravine .epochs th:first-child{text-align:right}"
    ".ravine tr.best td{font-weight:600}"
    ".ravine .epochs td.said{text-align:left;white-space:normal;font-style:italic}"
    ".ravine .said div{width:0;min-width:100%}"  # a sentence is as wide as the table, and makes it no wider
    ".ravine .drawn{display:block!important}.ravine .plain{display:none}"
    ".ravine ul,.ravine ol{margin:.4em 0;padding-left:1.4em}"
    ".ravine progress{width:14em;max-width:100%;vertical-align:middle;accent-color:#3d85c6}"
)


def output(answer: str, *parts: str) -> str:
    """An output: the answer as text, and below it parts that are HTML; empty ones are left out.

    The style stands in each output: outputs are cleared, copied and shown alone.
    """
    first = f"<p><strong>{escape(answer)}</strong></p>" if answer else ""
    return f'<div class="ravine"><style>{_STYLE}</style>{first}{"".join(parts)}</div>'


def paragraph(text: str, soft: bool = True) -> str:
    """A sentence, set back unless it matters as much as the answer; nothing of an empty one."""
    kind = ' class="soft"' if soft else ""
    return f"<p{kind}>{escape(text)}</p>" if text else ""


def drawn(part: str, instead: str = "") -> str:
    """A part that is nothing without its styles, and a text in its place where a notebook takes the style sheet out.

    A notebook that is not trusted keeps styles of single elements, and takes out sheets, SVG, and the elements of
    mathematics, whose texts would run into each other.
    """
    text = f'<pre class="plain">{escape(instead)}</pre>' if instead else ""
    return f'<div class="drawn" style="display:none">{part}</div>{text}'


def beside(*parts: str) -> str:
    """Parts side by side where there is room, else below each other."""
    return f'<div class="side">{"".join(parts)}</div>' if any(parts) else ""


def picture(png: bytes, label: str) -> str:
    """A picture as wide as its room; ``label`` says what it shows to those who do not see it."""
    data = base64.b64encode(png).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(label)}" style="max-width:100%;height:auto">'


def scrolling(part: str) -> str:
    """A part that scrolls in a box of its own, where it is wide or long."""
    return f'<div class="scroll">{part}</div>'


def html_facts(facts: Sequence[tuple[str, str]]) -> str:
    """A table of names and texts about one thing."""
    rows = "".join(f'<tr><td>{escape(n)}</td><td style="text-align:left">{escape(text)}</td></tr>' for n, text in facts)
    return f"<table><tbody>{rows}</tbody></table>"


def html_rows(heads: Sequence[str], rows: Sequence[Sequence[str]], best: int | None = None) -> str:
    """A table of texts: names in the first column, numbers in the others; the row number ``best`` is bold.

    Of more than ``MOST_ROWS`` rows only the first are shown, and a sentence says so.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    kinds = [' class="best"' if index == best else "" for index in range(len(rows))]
    body = "".join(
        f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for kind, row in zip(kinds, rows[:MOST_ROWS], strict=False)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    missing = len(rows) - MOST_ROWS
    return table + (paragraph(f"… and {missing:,} rows more.") if missing > 0 else "")
