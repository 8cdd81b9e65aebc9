"""The sentences beside a verdict: the target, and what speaks against the comparison."""

from __future__ import annotations

from ravine.comparison._judge import WarningNote
from ravine.comparison._judge.number_text import listed
from ravine.comparison._report.report_data import ReportData


def notes(data: ReportData) -> list[str]:
    """One for the target, if there is one, and one for each warning."""
    target = data.judgement.target
    return [*([] if target is None else [target.sentence]), *(f"Note: {one.sentence}" for one in warnings(data))]


def warnings(data: ReportData) -> list[WarningNote]:
    """Those of the judgement; that points diverged in tuning only, as is usual, is said once for all optimizers."""
    every = data.judgement.warnings
    usual = [one for one in every if one.kind == "diverged" and not data.result(one.optimizer).diverged]
    if len(usual) < 2:
        return list(every)
    shares = [f"{one.optimizer} {data.result(one.optimizer).tuning_diverged or 0.0:.0%}" for one in usual]
    together = WarningNote("diverged", "", f"Tuning points that diverged: {listed(shares)}.")
    return [*(one for one in every if one not in usual), together]
