"""What a report on logged runs shows, and its tables: text and page only draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from ravine.comparison._curves import RunCurve
from ravine.comparison._judge.measurements import FreshRun, OptimizerRuns
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._logged.judged_runs import JudgedRuns
from ravine.comparison._report.explanations import EXPLAINED
from ravine.comparison._report.figure_data import Band, bands, summary
from ravine.comparison._report.note_sentences import OR_LESS
from ravine.comparison._report.report_tables import Table, differences_table, short, target_table
from ravine.comparison._report.result_table import AGAINST, NOTHING, SORTED_BY, diverged_last, mean_and_spread

#: What a picture shows, in a few words.
LOGGED_CAPTIONS: Mapping[str, str] = {
    "differences": "Each against the best of the others",
    "curves": "Values against step",
    "target": "Steps to target",
}


def explained(result: JudgedRuns) -> dict[str, str]:
    """The sentence that explains each figure."""
    return {
        "differences": EXPLAINED["differences"].replace("95%", confidence(result)),
        "curves": "Each line is the median of an optimizer's runs, at the steps that all of them have logged; the band spans its best "
        "and its worst run.",
        "target": "Each mark is one run: the number of steps it took to reach the target (fewer is better). Runs that missed the "
        "target are marked at the right.",
    }


def confidence(result: JudgedRuns) -> str:
    """With which the intervals hold: ``95%``."""
    return f"{100 * (1 - result.with_best.alpha):.6g}%"


def some_diverged(result: JudgedRuns) -> bool:
    """Whether any run did, so that the intervals perhaps hold less often."""
    return any(run.diverged for runs in result.judged.values() for run in runs)


def title(result: JudgedRuns) -> str:
    """What was compared."""
    return f"{count(len(result.judged), 'optimizer')} compared in {count(sum(map(len, result.judged.values())), 'logged run')}"


def results(result: JudgedRuns) -> Table:
    """What every optimizer reached, the best first."""
    rows = []
    for one in result.differences.rows:
        runs = result.judged[one.label]
        finished = [float(run.values[-1]) for run in runs if not run.diverged]
        value = mean_and_spread(summary(finished)) if finished else "diverged"
        of_all = f" ({len(finished)} of {len(runs)} runs)" if 0 < len(finished) < len(runs) else ""
        rows.append([one.label, one.verdict, value + of_all, one.interval_text, str(len(runs))])
    caption = f"{SORTED_BY.capitalize()}{diverged_last(result.with_best)}; mean ± standard deviation over the runs that did not diverge"
    return Table(caption, ("optimizer", "verdict", result.metric.name, AGAINST, "runs"), rows)


def against_the_best(result: JudgedRuns) -> Table:
    """Every optimizer against the best of the others."""
    how_sure = f"All intervals hold jointly with {confidence(result)} confidence{OR_LESS * some_diverged(result)}"
    return differences_table(result.differences, result.metric.name, how_sure)


def target(result: JudgedRuns) -> Table | None:
    """How many runs reached the target, and after how many steps; None without a target."""
    ranked = [one.label for one in result.differences.rows]
    return target_table(result.steps, ranked, result.paired) if result.steps else None


def curve_ends(result: JudgedRuns) -> Table | None:
    """The last point of each curve; None if no optimizer has one."""
    by_name, rows = logged_bands(result), []
    for name, runs in result.judged.items():
        band = by_name.get(name)
        ends = (
            [number(band.steps[-1], 6), *(short(v[-1]) for v in (band.median, band.low, band.high))]
            if band
            else [NOTHING] * 4
        )
        rows.append([name, *ends, f"{sum(run.diverged for run in runs)} of {len(runs)}"])
    heads = ("optimizer", "last common step", "median", "best run", "worst run", "diverged runs")
    return Table("At the last step that all runs of the optimizer have logged", heads, rows) if by_name else None


def logged_bands(result: JudgedRuns) -> dict[str, Band]:
    """The curves of the optimizers whose runs were logged at two steps or more that all of them have."""
    sign = -1.0 if result.metric.higher_is_better else 1.0
    found = bands([OptimizerRuns(name, runs=_common(runs, sign)) for name, runs in result.judged.items()])
    if sign > 0:
        return found
    return {n: replace(b, median=-b.median, low=-b.low, high=-b.high) for n, b in found.items()}


def logged_figures(result: JudgedRuns) -> list[str]:
    """The names of the figures that there are numbers for."""
    there = {"differences": True, "curves": bool(logged_bands(result)), "target": bool(result.steps)}
    return [name for name, wanted in there.items() if wanted]


def _common(runs: Sequence[RunCurve], sign: float) -> list[FreshRun]:
    """The runs at the steps that all of them have; none if these are fewer than two."""
    finished = [run for run in runs if not run.diverged]
    steps = reduce(np.intersect1d, (run.steps for run in finished)) if finished else np.array([])
    if len(steps) < 2:
        return []
    fresh = []
    for seed, run in enumerate(runs):
        at = np.isin(run.steps, steps)
        score = np.nan if run.diverged else sign * float(run.values[-1])
        fresh.append(FreshRun(seed, run.steps[at], sign * run.values[at], score, diverged=run.diverged))
    return fresh
