"""A study in one table and a few sentences, for a terminal."""

from __future__ import annotations

from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.result_table import result_table

_LEFT_OUT = ("test loss", "diverged in tuning")  # a terminal is narrow, and the sentences say it


def title(data: ReportData) -> str:
    """What was compared, in one line."""
    spec = data.spec
    return f"{spec.task}: {len(spec.optimizers)} optimizers, {spec.points} points, {spec.seeds} fresh seeds, {spec.steps} steps"


def table(data: ReportData) -> tuple[list[str], list[list[str]]]:
    """The heads and rows of the table of results; each number of a best point stands in a line of its own."""
    heads, rows = result_table(data, left_out=_LEFT_OUT)
    return heads, [[cell.replace(", ", "\n") if i == 1 else cell for i, cell in enumerate(row)] for row in rows]


def words(data: ReportData) -> str:
    """The verdict, and what speaks against the comparison."""
    judgement = data.judgement
    said = [judgement.target.sentence] if judgement.target is not None else []
    return "\n".join([judgement.sentence, *said, *(f"Note: {w.sentence}" for w in judgement.warnings)])
