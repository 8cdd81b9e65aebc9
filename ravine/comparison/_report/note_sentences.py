"""The sentences beside a verdict: the target, and what speaks against the comparison."""

from __future__ import annotations

from ravine.comparison._report.report_data import ReportData


def notes(data: ReportData) -> list[str]:
    """One for the target, if there is one, and one for each warning."""
    judgement = data.judgement
    target = [judgement.target.sentence] if judgement.target is not None else []
    return [*target, *(f"Note: {warning.sentence}" for warning in judgement.warnings)]
