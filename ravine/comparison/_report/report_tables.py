"""The numbers of every chart as tables, for whoever cannot see it or wants to quote it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ravine.comparison._judge import Judgement, StepsToTarget, rank_tests
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._report.difference_data import Differences
from ravine.comparison._report.note_sentences import confidence_text
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.result_table import far_out, result_table, sorted_text

#: What a mean says of diverged runs.
DIVERGED = (
    "Means leave out diverged runs and say how many runs are left; the verdict counts a diverged run as the loss that it "
    "started with, and other metrics are compared over the seeds where neither of two optimizers diverged"
)


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
    heads, rows = result_table(data, left_out=("median steps",))  # the page has a table of the target
    return Table(caption(data), heads, rows)


def caption(data: ReportData) -> str:
    """How the table of results is sorted, and which runs count as other than they are; without the last full stop."""
    lost = any(row.diverged for row in data.results)
    return ". ".join([sorted_text(data), *[DIVERGED] * lost, *filter(None, [far_out(data)])])


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
            chosen_text(tried.chosen),
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


def chosen_text(chosen: tuple[float, float, float]) -> str:
    """``0.01 (0.003 to 0.02)``: the median of what tunings chose, and the least and the largest."""
    middle, low, high = (short(value) for value in chosen)
    return middle if low == high else f"{middle} ({low} to {high})"


def budget(data: ReportData) -> Table:
    """The loss after so many points, and the interval of its mean."""
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
    return Table(
        "Mean loss of fresh runs at the best of N points; in brackets its 95% interval",
        ("optimizer", *(count(k, "point") for k in data.budget_points)),
        rows,
    )


def target(data: ReportData) -> Table:
    """How many fresh runs reached the target, and after how many steps; in the order of the results."""
    return target_table(data.judgement.steps, data.ranked)


def target_table(steps_to_target: Mapping[str, StepsToTarget], ranked: Sequence[str], paired: bool = True) -> Table:
    """How many runs reached the target, and after how many steps; the optimizers in the given order, the best first."""
    rows, first = [], ranked[0]
    p = rank_tests(steps_to_target, first) if steps_to_target and paired else {}
    for label in ranked if steps_to_target else ():
        taken = steps_to_target[label]
        fastest_first = taken.reached
        ends = f"{short(fastest_first[0])} to {short(fastest_first[-1])}" if fastest_first else "–"
        median = short(taken.median) if math.isfinite(taken.median) else "not reached"
        low, high = taken.share_interval
        rank = _chance(p[label]) if label in p else "–"
        reached = f"{taken.reached_text} ({low:.0%} to {high:.0%})"
        rows.append([label, reached, short(taken.restricted_mean), median, ends, str(len(taken.diverged)), rank])
    caption = (
        "Steps to the target; in brackets the 95% interval of the share of runs that reach it. A run that missed it counts as "
        "all its steps in the restricted mean, and comes last in the median"
    )
    test = f"p: Wilcoxon's signed-rank test against {first}, corrected for the number of optimizers (Holm)"
    heads = [
        "optimizer",
        "runs that reached it",
        "restricted mean",
        "median steps",
        "fastest to slowest",
        "diverged",
        "p",
    ]
    if paired:
        return Table(f"{caption}. {test}", heads, rows)
    return Table(caption, heads[:-1], [row[:-1] for row in rows])


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
    return Table("Steps of every run", ("optimizer", *(f"seed {i + 1}" for i in range(len(seeds)))), rows)


def differences(data: ReportData, name: str) -> Table:
    """Every optimizer against the best of the others in one measure."""
    return differences_table(data.differences[name], name, confidence_text(data))


def differences_table(one: Differences, name: str, confidence: str) -> Table:
    """The differences in the measure of that name; and how surely their intervals hold, without a full stop."""
    rows = [[row.label, row.verdict, row.text(row.middle, 3), row.interval_text] for row in one.rows]
    how = "relative to" if one.ratio else "minus"
    return Table(
        f"{name} {how} the best of the others'. {confidence}",
        ("optimizer", "verdict", "ratio" if one.ratio else "difference", "interval"),
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
    """The scores of chosen points in tuning beside fresh runs."""
    rows = [
        [label, str(b.points), short(b.tuning), short(b.fresh), short(b.bias), f"{short(b.low)} to {short(b.high)}"]
        for label, b in judgement.selection_bias.items()
    ]
    return Table(
        "Validation loss at the chosen points, the mean over tunings",
        ("optimizer", "points", "tuning score", "fresh run", "too good by", "95% interval"),
        rows,
    )
