"""The numbers of every chart as tables, for whoever cannot see it or wants to quote it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ravine.comparison._judge import Judgement
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.result_table import result_table


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading, and the name of an optimizer where ``of_optimizers``."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    of_optimizers: bool = True


def short(value: float, digits: int = 3) -> str:
    """A number with so many digits, or a dash for none."""
    return number(value, digits) if math.isfinite(value) or value > 0 else "–"


def results(data: ReportData) -> Table:
    """What every optimizer reached, the best first."""
    heads, rows = result_table(data)
    return Table("Mean ± standard deviation over the fresh runs that did not diverge", heads, rows)


def curves(data: ReportData) -> Table:
    """The last point of each curve."""
    rows = []
    for label in data.labels:
        band, row = data.curves.get(label), data.result(label)
        ends = [short(band.median[-1]), short(band.low[-1]), short(band.high[-1])] if band else ["–"] * 3
        rows.append([label, *ends, f"{row.diverged} of {row.runs}"])
    return Table(
        "Validation loss at the end of the fresh runs; a run that diverged counts as infinite",
        ("optimizer", "median", "best run", "worst run", "diverged runs"),
        rows,
    )


def sensitivity(data: ReportData, name: str) -> Table:
    """What was tried of one hyperparameter."""
    rows = [
        [
            label,
            short(tried.chosen, 4),
            f"{short(tried.low)} to {short(tried.high)}",
            str(tried.values),
            f"{data.result(label).tuning_diverged or 0.0:.0%}",
            short(tried.best),
        ]
        for label, tried in data.sensitivity[name].tried.items()
    ]
    return Table(
        f"Tuning trials by {name}; see All trials for each of them",
        ("optimizer", f"chosen {name}", "range tried", "values", "diverged", "best loss"),
        rows,
    )


def budget(data: ReportData) -> Table:
    """The expected best loss, and the band around it."""
    curves, rows = data.judgement.budget, []
    for label, curve in curves.items():
        cells = dict(
            zip(
                curve.points,
                (
                    f"{short(e)} ({short(low)} to {short(high)})"
                    for e, low, high in zip(curve.expected, curve.low, curve.high, strict=True)
                ),
                strict=True,
            )
        )
        rows.append([label, *(cells.get(k, "–") for k in data.budget_points)])
    coverage = next((f"{curve.coverage:.0%}" for curve in curves.values()), "80%")
    return Table(
        f"Expected best loss after N trials; in brackets the range of {coverage} of all choices of N trials",
        ("optimizer", *(count(k, "trial") for k in data.budget_points)),
        rows,
    )


def target(judgement: Judgement) -> Table:
    """How many runs reached the target, and after how many steps."""
    rows = []
    for label, taken in judgement.steps.items():
        fastest_first = taken.reached
        ends = f"{short(fastest_first[0])} to {short(fastest_first[-1])}" if fastest_first else "–"
        median = short(taken.median) if math.isfinite(taken.median) else "not reached"
        rows.append([label, median, taken.reached_text, ends, str(len(taken.diverged))])
    return Table(
        "Steps to the target; in the median, runs that missed it rank last",
        ("optimizer", "median steps", "runs that reached it", "fastest to slowest", "diverged"),
        rows,
    )


def runs(judgement: Judgement) -> Table:
    """The steps of every single run."""
    seeds = sorted({seed for taken in judgement.steps.values() for seed in taken.steps})
    rows = []
    for label, taken in judgement.steps.items():
        cells = []
        for seed in seeds:
            steps = taken.steps.get(seed, math.nan)
            lost = "diverged" if seed in taken.diverged else "missed" if seed in taken.steps else "–"
            cells.append(lost if math.isnan(steps) else short(steps, 6))
        rows.append([label, *cells])
    return Table("Steps of every run", ("optimizer", *(f"seed {seed}" for seed in seeds)), rows)


def differences(data: ReportData, name: str) -> Table:
    """Every optimizer against the base in one measure."""
    one = data.differences[name]
    rows = [
        [
            row.pair.first,
            short(row.middle),
            f"{short(row.low)} to {short(row.high)}",
            _chance(row.pair.p),
            _chance(row.pair.adjusted),
            row.pair.kind,
        ]
        for row in one.rows
    ]
    return Table(
        f"{name} {'relative to' if one.ratio else 'minus that of'} {one.base}; p is adjusted for the number of pairs (Holm), and "
        "below 0.05 a difference is shown",
        ("optimizer", "ratio" if one.ratio else "difference", "95% interval", "p", "adjusted p", "verdict"),
        rows,
    )


def _chance(p: float) -> str:
    return short(p, 2) if p >= 1e-4 else "below 0.0001"


def watch(data: ReportData) -> Table:
    """Update over parameter."""
    ratios = data.update_ratios
    rows = [[name, *(short(ratios[label].get(name, math.nan)) for label in ratios)] for name in data.watched]
    return Table("Update / parameter, median of the run", ("parameter", *ratios), rows, of_optimizers=False)


def seconds(data: ReportData) -> Table:
    """What one step takes."""
    rows = [
        [label, short(s.step * 1e3), short(s.step * s.optimizer_fraction * 1e3), f"{s.optimizer_fraction:.0%}"]
        for label in data.labels
        if (s := data.result(label).seconds) is not None
    ]
    return Table("Milliseconds per step", ("optimizer", "whole step", "optimizer's part", "fraction"), rows)


def selection_bias(judgement: Judgement) -> Table:
    """The score of the chosen point in tuning beside that on fresh seeds."""
    rows = [
        [label, str(b.points), short(b.tuning), short(b.fresh), short(b.bias), short(b.expected), short(b.error)]
        for label, b in judgement.selection_bias.items()
    ]
    return Table(
        "Validation loss of the chosen point",
        (
            "optimizer",
            "points",
            "tuning score",
            "on fresh seeds",
            "too good by",
            "expected bias",
            "standard error",
        ),
        rows,
    )
