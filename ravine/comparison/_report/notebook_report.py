"""A study in a notebook: the verdict, the table of results with a picture of the intervals, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ravine._plotting.notebook_html import FIRST, drawn, output, paragraph, scrolling
from ravine.comparison._judge import LOSS
from ravine.comparison._report.difference_data import Difference, Differences
from ravine.comparison._report.note_sentences import notes
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.report_tables import Table
from ravine.comparison._report.result_table import AGAINST, far_out, result_table, sorted_text


def notebook_html(data: ReportData) -> str:
    """A part of a page of HTML; names are text, whatever stands in them."""
    heads, rows = result_table(data)
    losses = data.differences.get(LOSS.name)
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in notes(data))
    return output(
        data.judgement.sentence,
        table_with_intervals(heads, rows, losses),
        paragraph(". ".join([sorted_text(data), *filter(None, [far_out(data)])]) + "."),
        _legend(losses) if losses is not None and AGAINST in heads else "",
        f"<ul>{items}</ul>" if items else "",
    )


def _legend(one: Differences) -> str:
    """What the picture beside the intervals shows."""
    worse = "left" if one.higher_is_better else "right"
    grey = " Grey: too small to matter." if one.margin[0] < one.margin[1] else ""
    return drawn(
        paragraph(f"A bar is the interval; {worse} of the line is worse, and filled dots may be the best.{grey}")
    )


def table_with_intervals(heads: Sequence[str], rows: Sequence[Sequence[str]], one: Differences | None) -> str:
    """A table whose column of intervals against the best of the others is drawn, too; those that may be the best are bold."""
    head = "".join(f"<th>{_wrapped(name)}</th>" for name in heads)
    top = [] if one is None else [row.label for row in one.rows if row.may_be_best]
    body = []
    for row in rows:
        cells = ""
        for name, cell in zip(heads, row, strict=True):
            drawn = _interval(one.row(row[0]), one) if one is not None and name == AGAINST else ""
            cells += f"<td>{drawn}{escape(cell)}</td>"
        best = ' class="best"' if row[0] in top and len(top) < len(rows) else ""
        body.append(f"<tr{best}>{cells}</tr>")
    return scrolling(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>")


def titled_table(table: Table, one: Differences | None = None) -> str:
    """A table of a report with its caption below it, and what its picture of the intervals shows."""
    legend = _legend(one) if one is not None else ""
    return table_with_intervals(table.columns, table.rows, one) + paragraph(f"{table.caption.rstrip('.')}.") + legend


def _wrapped(head: str) -> str:
    """A head of several words on two lines."""
    words = head.split(" ")
    if len(words) < 2:
        return escape(head)
    half = (len(words) + 1) // 2
    return f"{escape(' '.join(words[:half]))}<br>{escape(' '.join(words[half:]))}"


def _interval(row: Difference, one: Differences) -> str:
    """A bar from low to high with a dot in the middle, on the axis that all rows share; the line is no difference.

    It floats at the left of its cell: beside the text it would begin elsewhere in each row.
    """
    none = one.no_difference
    start, end = min(one.limits[0], none), max(one.limits[1], none)
    room = 0.05 * (end - start) or 1.0
    places = (np.array([none, row.low, row.middle, row.high, *one.margin]) - (start - room)) / (end - start + 2 * room)
    zero, low, middle, high, left, right = np.nan_to_num(100 * np.clip(places, 0, 1), nan=50.0).tolist()
    fill = FIRST if row.may_be_best else "none"
    return (
        f'<svg role="img" aria-label="{escape(row.interval_text)}" viewBox="0 0 100 16" width="100" height="16" '
        'style="float:left;margin:.15em .7em 0 0;max-width:none">'
        f'<rect x="{left:.1f}" width="{right - left:.1f}" height="16" fill="currentColor" fill-opacity=".12"/>'
        f'<path d="M{zero:.1f} 0V16" stroke="currentColor" stroke-opacity=".6" stroke-dasharray="3 2"/>'
        f'<path d="M{low:.1f} 8H{high:.1f}" stroke="{FIRST}" stroke-width="2"/>'
        f'<circle cx="{middle:.1f}" cy="8" r="3.5" fill="{fill}" stroke="{FIRST}" stroke-width="1.5"/></svg>'
    )
