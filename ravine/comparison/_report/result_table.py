"""The table of results, the same wherever it is shown: a line for each optimizer, best first, numbers as far as known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ravine.comparison._judge import LOSS
from ravine.comparison._judge.number_text import number
from ravine.comparison._judge.verdict_text import far_out_text
from ravine.comparison._judge.with_best import WithBest
from ravine.comparison._report.difference_data import Difference
from ravine.comparison._report.figure_data import Summary
from ravine.comparison._report.report_data import ReportData, ResultRow

NOTHING = "–"
#: How the rows are sorted; the verdict sorts by the same.
SORTED_BY = "sorted by the difference to the best of the others"
#: More of it, where an optimizer stands behind others though its loss is lower.
MISSING_LAST = ", those that miss the target in most runs last"
#: The head of the column with the interval that the verdict is read off.
AGAINST = "against the best of the others"
_LEAST, _MOST = 1e-6, 1e7  # numbers beyond are written with powers of ten
_PERCENT = ("accuracy",)


def result_table(data: ReportData, left_out: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """The heads and the lines, best first; the first column has the labels. Columns with the heads ``left_out`` are not shown."""
    metrics = list(dict.fromkeys(name for row in data.results for name in row.metrics))
    against = data.differences.get(LOSS.name)
    columns = [_cells(row, metrics, against.row(row.label) if against else None) for row in data.results]
    measured = any(row.seconds is not None for row in data.results)
    heads = [
        head
        for head in columns[0]
        if head not in left_out
        and (data.judgement.steps or head not in ("reached target", "median steps"))
        and (measured or head != "ms per step")
        and (against or head != AGAINST)
    ]
    return heads, [[cells[head] for head in heads] for cells in columns]


def missing_last(data: ReportData) -> str:
    """That an optimizer stands behind others for the target that it misses; empty if none does."""
    losses = data.judgement.losses
    if losses is None:
        return ""
    return MISSING_LAST * (not losses.by_difference) + diverged_last(losses)


def diverged_last(losses: WithBest) -> str:
    """That those that diverged in every run stand last, whatever they count as; empty if there are none."""
    return ", those that diverged in every run last" if losses.diverged else ""


def sorted_text(data: ReportData) -> str:
    """How the rows are sorted, or of a single one what its numbers are; without a full stop."""
    if len(data.results) < 2:
        return "Mean ± standard deviation over the fresh runs"
    return f"{SORTED_BY.capitalize()} in validation loss, which the verdict is about{missing_last(data)}"


def far_out(data: ReportData) -> str:
    """Which runs the verdict counts as less far out than they are, without a full stop; empty if there are none."""
    losses = data.judgement.losses
    return "" if losses is None else far_out_text(losses)


def _cells(row: ResultRow, metrics: Sequence[str], against: Difference | None) -> dict[str, str]:
    """All cells of a line by the heads of their columns."""
    steps, lost = row.steps, row.tuning_diverged
    return {
        "optimizer": row.label,
        "validation loss": _over_runs(row.loss, row.runs) if row.loss.runs else "diverged",
        AGAINST: "" if against is None else against.interval_text,
        "typical point": ", ".join(f"{name} {number(value, 3)}" for name, value in row.point.items()) or NOTHING,
        "reached target": steps.reached_text if steps else "",
        "median steps": (number(steps.median, 3) if math.isfinite(steps.median) else "not reached") if steps else "",
        **{
            name: _over_runs(row.metrics[name], row.loss.runs, name in _PERCENT) if name in row.metrics else NOTHING
            for name in metrics
        },
        "ms per step": NOTHING if row.seconds is None else number(1e3 * row.seconds.step, 3),
        "diverged in tuning": NOTHING if lost is None else f"{lost:.0%}",
    }


def _over_runs(summary: Summary, runs: int, percent: bool = False) -> str:
    counted = f" ({summary.runs} of {runs} runs)" if 0 < summary.runs < runs else ""
    return mean_and_spread(summary, percent) + counted


def mean_and_spread(summary: Summary, percent: bool = False) -> str:
    """``0.312 ± 0.011``: the spread with two digits, the mean as far as it is known; or ``97.39 ± 0.60%``."""
    mean, spread = summary.mean, summary.spread
    if not math.isfinite(mean):
        return NOTHING
    if percent:
        return f"{mean_and_spread(Summary(100 * mean, 100 * spread, summary.runs))}%"
    if mean and not _LEAST <= max(abs(mean), spread) < _MOST:
        return f"{mean:.3g} ± {spread:.2g}" if spread else f"{mean:.3g}"
    if spread <= 1e-12 * abs(mean):
        return number(mean, 4)
    digits = min(max(0, 1 - math.floor(math.log10(spread))), 9)
    return f"{mean:,.{digits}f} ± {spread:,.{digits}f}"
