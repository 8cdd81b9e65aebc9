"""The figures of a report as PNGs for papers: made of the same numbers as those of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ravine._plotting.style import png
from ravine.comparison._report import forest_plots, line_figures
from ravine.comparison._report.report_data import ReportData

#: What draws each figure, by its name.
DRAWERS: Mapping[str, Callable[[ReportData], Any]] = {
    "curves": line_figures.curves,
    "target": forest_plots.target,
    "differences": forest_plots.differences,
    "sensitivity": line_figures.sensitivity,
    "budget": line_figures.budget,
}


def figure_pngs(data: ReportData) -> Iterator[tuple[str, bytes]]:
    """File name and content of each figure; those for which there are no numbers are left out."""
    for name in data.figures:
        yield f"{name}.png", png(DRAWERS[name](data))
