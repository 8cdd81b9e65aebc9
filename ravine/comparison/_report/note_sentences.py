"""The sentences beside a verdict: the target, what was saved or is still needed, and what speaks against the comparison."""

from __future__ import annotations

from ravine.comparison._judge import WarningNote
from ravine.comparison._judge.number_text import listed
from ravine.comparison._report.report_data import ReportData

#: What is added where runs diverged.
OR_LESS = ", or less, since runs diverged: an interval knows only of the share that did"


def notes(data: ReportData) -> list[str]:
    """One for the target, if there is one, those of :func:`seeds_text`, and one for each warning."""
    target = data.judgement.target
    return [
        *([] if target is None else [target.sentence]),
        *seeds_text(data),
        *(f"Note: {one.sentence}" for one in warnings(data)),
    ]


def confidence_text(data: ReportData) -> str:
    """How surely the intervals of a table hold, without a full stop."""
    lost = any(row.diverged for row in data.results)
    return f"All intervals hold jointly with 95% confidence{OR_LESS * lost}"


def seeds_text(data: ReportData) -> list[str]:
    """That a study was settled early; or how to ask for what it leaves open. At most one sentence."""
    if data.settled_early is not None:
        return [data.settled_early.sentence]
    losses = data.judgement.losses
    if losses is None or losses.settled or losses.more is None or losses.looks[-1] != data.spec.seeds:
        return []
    most = data.spec.seeds + losses.more
    return [
        "Seeds added to a study that was judged make a wrong verdict more likely; a new one with --until settled "
        f"--at-most {most} --study-seed {data.spec.seed + 1} keeps the 5%."
    ]


def warnings(data: ReportData) -> list[WarningNote]:
    """Those of the judgement; that points diverged in tuning only, as is usual, is said once for all optimizers."""
    every = data.judgement.warnings
    usual = [one for one in every if one.kind == "diverged" and not data.result(one.optimizer).diverged]
    if len(usual) < 2:
        return list(every)
    shares = [f"{one.optimizer} {data.result(one.optimizer).tuning_diverged or 0.0:.0%}" for one in usual]
    together = WarningNote("diverged", "", f"Tuning points that diverged: {listed(shares)}.")
    return [*(one for one in every if one not in usual), together]
