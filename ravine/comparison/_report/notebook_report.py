"""A study in a notebook: the verdict, the table of results, and what speaks against the comparison."""

from __future__ import annotations

from html import escape

from ravine.comparison._report.note_sentences import notes
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.result_table import result_table


def notebook_html(data: ReportData) -> str:
    """A part of a page of HTML; names are text, whatever stands in them."""
    heads, rows = result_table(data)
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in notes(data))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><p><strong>{escape(data.judgement.sentence)}</strong></p>{table}<ul>{items}</ul></div>"
