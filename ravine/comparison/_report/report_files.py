"""The files of a report, made one after another: what is cheap and needed first."""

from __future__ import annotations

from collections.abc import Iterator

from ravine.comparison._report.figure_pngs import figure_pngs
from ravine.comparison._report.markdown_report import markdown_report
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.report_page import report_page


def contents(data: ReportData) -> Iterator[tuple[str, bytes]]:
    """Name and content of report.md, report.html and the pictures; the text first, where a picture may fail."""
    yield "report.md", markdown_report(data).encode()
    yield "report.html", report_page(data)
    yield from figure_pngs(data)
