"""Pictures with a row for each optimizer: the steps of its runs to the target, and its differences to the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ravine._plotting.curve_lines import shortened
from ravine._plotting.style import blank, tidy
from ravine.comparison._judge import LOSS, StepsToTarget
from ravine.comparison._report.difference_data import Differences
from ravine.comparison._report.figure_style import MarkerStyle, brief, head, marker_styles
from ravine.comparison._report.report_data import ReportData

_WIDTH, _ROW, _REST = 9.5, 0.42, 1.3  # inches: of the picture, of a row, of axis and notes


def target(data: ReportData) -> Any:
    """The steps of the fresh runs to the target."""
    goal = data.judgement.target
    what = f"a validation loss of {brief(goal.loss if goal else math.nan)}"
    return target_figure(data.judgement.steps, data.labels, data.ranked, data.spec.task, what)


def target_figure(
    steps_to_target: Mapping[str, StepsToTarget], every: Sequence[str], labels: Sequence[str], title: str, goal: str
) -> Any:
    """A mark for each run at its steps to the target; those that never got there at the right.

    Args:
        steps_to_target: by optimizer.
        every: all optimizers, in the order that gives them their styles.
        labels: the optimizers from the top.
        title: what the runs are of.
        goal: the target in words.
    """
    styles = marker_styles(every)
    figure = blank(_WIDTH, _REST + _ROW * len(labels))
    axes = figure.add_subplot()
    horizon = max(taken.horizon for taken in steps_to_target.values())
    missing = any(taken.missed for taken in steps_to_target.values())
    never = 1.07 * horizon
    for row, label in enumerate(labels):
        taken, style = steps_to_target[label], styles[label]
        places = row + _heights(len(taken.steps))
        steps = np.array([taken.steps[seed] for seed in sorted(taken.steps)])
        lost = np.isnan(steps)
        axes.plot(steps[~lost], places[~lost], **style.marks())
        crosses = {"color": style.line.colour, "markersize": 6, "markeredgewidth": 1.5, "linestyle": ""}
        axes.plot(np.full(lost.sum(), never), places[lost], marker="x", **crosses)
        if math.isfinite(taken.median):
            axes.plot([taken.median] * 2, [row - 0.4, row + 0.4], color="black", linewidth=1.6, zorder=6)
        axes.text(1.01, row, taken.reached_text, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_xlim(0, (1.12 if missing else 1.02) * horizon)
    name_rows(axes, labels)
    above = {"transform": axes.get_xaxis_transform(), "va": "bottom", "fontsize": 9, "color": "0.3"}
    axes.text(1.01, 1.0, "reached", **{**above, "transform": axes.transAxes})
    if missing:
        axes.axvline(1.02 * horizon, color="0.6", linewidth=0.8, linestyle=(0, (2, 2)))
        axes.text(never, 1.0, "missed", ha="center", **above)
        axes.set_xticks([tick for tick in axes.get_xticks() if tick <= horizon])
    axes.set_xlabel(f"steps to {goal}", parse_math=False)
    head(
        figure,
        f"{title}: steps to the target",
        "Each mark is one run; the bar is the median of all runs, missing where half of them missed the target.",
    )
    return figure


def differences(data: ReportData) -> Any:
    """Each optimizer against the best of the others in the validation loss."""
    confidence = "" if any(row.diverged for row in data.results) else "95%"
    one = data.differences[LOSS.name]
    return differences_figure(one, LOSS.name, data.labels, data.ranked, data.spec.task, confidence)


def differences_figure(
    one: Differences, metric: str, every: Sequence[str], labels: Sequence[str], title: str, confidence: str
) -> Any:
    """Each optimizer against the best of the others in one metric, with intervals that hold together.

    Args:
        one: the differences.
        metric: what they are of.
        every: all optimizers, in the order that gives them their styles.
        labels: the optimizers from the top.
        title: what the runs are of.
        confidence: with which all intervals hold, such as ``95%``; empty to say nothing of it.
    """
    figure = blank(_WIDTH, _REST + 0.25 + _ROW * len(labels))
    axes = figure.add_subplot()
    forest(axes, one, labels, marker_styles(every))
    how, worse = "relative to" if one.ratio else "minus", "left" if one.higher_is_better else "right"
    axes.set_xlabel(f"{metric} {how} the best of the others' ({worse} of the dashed line: worse)", parse_math=False)
    name_rows(axes, labels)
    wide = any(row.low < one.limits[0] or row.high > one.limits[1] for row in one.rows)
    arrow = " Arrow: the interval extends beyond the picture." if wide else ""
    about = "Filled: may be the best; hollow: cannot be. Grey band: too small to matter."
    joint = f" All intervals hold jointly ({confidence})." if confidence else ""
    head(figure, f"{title}: {metric} against the best of the others", f"{about}{joint}{arrow}")
    return figure


def forest(axes: Any, one: Differences, labels: Sequence[str], styles: dict[str, MarkerStyle]) -> None:
    """Draw the differences, an interval for each label from the top."""
    low, high = one.limits
    axes.axvspan(*one.margin, color="0.9", linewidth=0, zorder=0)
    for difference in one.rows:
        style, row = styles[difference.label], labels.index(difference.label)
        colour, middle = style.line.colour, difference.middle
        ends = [min(max(end, low), high) for end in (difference.low, difference.high)]
        axes.plot(ends, [row, row], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
        face = colour if difference.may_be_best else "white"
        mark = {**style.marks(8), "markerfacecolor": face, "markeredgecolor": colour, "markeredgewidth": 1.6}
        if low <= middle <= high:
            axes.plot(middle, row, **{**mark, "zorder": 5})
        else:
            left = middle < low
            axes.annotate(
                f"{brief(middle, 2)}{'×' * one.ratio}", (low if left else high, row), xytext=(12 if left else -12, 7),
                textcoords="offset points", ha="left" if left else "right", fontsize=8.5, color="0.2",
            )  # fmt: skip
        for end, beyond, arrow in ((ends[0], difference.low < low, "<"), (ends[1], difference.high > high, ">")):
            if beyond:
                axes.plot(end, row, arrow, color=colour, markersize=7, clip_on=False, zorder=4)
    axes.axvline(one.no_difference, color="0.25", linewidth=1, linestyle=(0, (5, 3)), zorder=2)
    if one.ratio:
        _ratio_axis(axes, low, high)
    else:
        axes.set_xlim(low, high)
        axes.locator_params(axis="x", nbins=6)


def _ratio_axis(axes: Any, least: float, most: float) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(least, most)
    ticks = [float(t) for t in MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(least, most)]
    if most / least > 4:
        ticks = [float(f"{f}e{e}") for e in range(-9, 10) for f in (1, 2, 5)]
    ticks = [t for t in ticks if least <= t <= most]
    while len(ticks) > 6:  # 1, no difference, stays
        at = ticks.index(1.0)
        ticks = [t for i, t in enumerate(ticks) if (i - at) % 2 == 0]
    axes.set_xticks(ticks, [brief(t) for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def name_rows(axes: Any, labels: Sequence[str]) -> None:
    """Write a label beside each row, from the top."""
    axes.set_yticks(range(len(labels)), [shortened(label) for label in labels], fontsize=9, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    tidy(axes)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def _heights(count: int) -> np.ndarray:
    """Where the marks of one row stand in it: many runs may take the same steps."""
    return np.linspace(-0.28, 0.28, count) if count > 1 else np.zeros(1)
