"""Figures of lines: losses on the way, loss against the hyperparameter, loss against the points tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np

from ravine._plotting.curve_lines import name_lines, shortened
from ravine._plotting.style import blank, tidy
from ravine.comparison._judge import LOSS
from ravine.comparison._report.figure_data import Band, Mark
from ravine.comparison._report.figure_style import (
    MarkerStyle,
    brief,
    drawn,
    head,
    loss_axis,
    marker_styles,
    points_axis,
)
from ravine.comparison._report.report_data import ReportData

SIZE = 9.5, 5.6  # inches


def curves(data: ReportData) -> Any:
    """The validation losses of the fresh runs on the way."""
    lost = {label: said for label in data.labels if (said := data.result(label).diverged_text)}
    goal = data.judgement.target.loss if data.judgement.target else None
    title = f"{data.spec.task}: {LOSS.name}, median and range of fresh runs"
    return curves_figure(data.curves, LOSS.name, data.labels, title, lost, goal, data.curves_ceiling)


def curves_figure(
    bands: Mapping[str, Band],
    metric: str,
    every: Sequence[str],
    title: str,
    lost: Mapping[str, str],
    goal: float | None,
    most: float = math.inf,
    *,
    logarithmic: bool = True,
) -> Any:
    """The median of each optimizer's runs on the way, the band from best to worst, and the target.

    Args:
        bands: by optimizer.
        metric: what they are of.
        every: all optimizers, in the order that gives them their styles.
        title: what the runs are of.
        lost: of the optimizers of which runs diverged, how many did, in words.
        goal: the target; None without.
        most: where the picture ends.
        logarithmic: whether the axis may be, of values that are not negative.
    """
    styles = marker_styles(every)
    figure = blank(*SIZE)
    axes = figure.add_subplot()
    values = [v for band in bands.values() for v in (*band.low, *band.median, *(() if band.diverged else band.high))]
    values += [] if goal is None else [goal]
    loss_axis(axes, values, most, logarithmic=logarithmic)
    bottom, top = axes.get_ylim()
    ends, thin = [], False
    for label, band in bands.items():
        style = styles[label]
        if band.diverged:  # a band to infinity would cover all others: its lower edge says as much
            axes.plot(band.steps, drawn(band.low), color=style.line.colour, linewidth=0.8, alpha=0.7, zorder=2)
            thin = thin or bool(((band.low >= bottom) & (band.low <= top)).any())
        else:
            axes.fill_between(band.steps, band.low, band.high, color=style.line.colour, alpha=_band(bands), linewidth=0)
        median = np.maximum(drawn(band.median), bottom)
        axes.plot(band.steps, median, **style.line.options(), marker="o" if len(median) == 1 else "")
        ends.append((label, _end(median, top), style.line))
    ends += [(label, top, styles[label].line) for label in lost if label not in bands]
    axes.set_xlim(0, max((band.steps[-1] for band in bands.values()), default=1))
    axes.set_xlabel("step")
    axes.set_ylabel(metric, parse_math=False)
    tidy(axes)
    if goal is not None:
        _mark_target(axes, goal)
    about = "Thin line: the best run where others diverged; a band up to them would cover everything."
    head(figure, title, about if thin else "")
    name_lines(axes, ends, lost)
    return figure


def _band(bands: Sized) -> float:
    """How opaque bands are: many lie over each other."""
    return 0.15 if len(bands) <= 4 else 0.07


def _end(values: np.ndarray, top: float) -> float:
    """Where a line ends; above the picture if it does not end in a number."""
    return float(values[-1]) if len(values) and math.isfinite(values[-1]) else top


def _mark_target(axes: Any, loss: float) -> None:
    height = max(loss, axes.get_ylim()[0])
    axes.axhline(height, color="0.25", linewidth=1, linestyle=(0, (5, 3)), zorder=4)
    box = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    place = {"xycoords": axes.get_yaxis_transform(), "xytext": (0, 3), "textcoords": "offset points"}
    axes.annotate(f"target {brief(loss)}", (0.008, height), **place, fontsize=8.5, color="0.25", bbox=box, zorder=6)


def sensitivity(data: ReportData) -> Any:
    """Score against the first hyperparameter that was searched; failures in a strip on top, a row for each optimizer."""
    name = next(iter(data.sensitivity))
    tried, most, styles = data.sensitivity[name].tried, data.ceiling, marker_styles(data.labels)
    least = data.sensitivity[name].bottom
    by_label = {label: one.marks for label, one in tried.items()}
    failed = [label for label, marks in by_label.items() if any(not m.score <= most for m in marks)]
    figure = blank(SIZE[0], SIZE[1] + 0.2 * len(failed))
    strip, axes = None, None
    if failed:
        heights = [0.2 * len(failed), SIZE[1]]
        strip, axes = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    else:
        axes = figure.add_subplot()
    loss_axis(axes, [max(m.score, least) for marks in by_label.values() for m in marks if m.score <= most])
    handles: list[Any] = []
    lower = False
    for label, marks in by_label.items():
        style = styles[label]
        shown = [m for m in marks if least <= m.score <= most]
        for chosen in (False, True):
            some = [m for m in shown if m.chosen == chosen]
            face = {"markeredgecolor": style.line.colour, **({} if chosen else {"markerfacecolor": "white"})}
            axes.plot([m.value for m in some], [m.score for m in some], **{**style.marks(), **face})
        below = [m.value for m in marks if m.score < least]
        axes.plot(below, [least] * len(below), "v", color=style.line.colour, markersize=8)
        lower = lower or bool(below)
        handles += axes.plot([], [], **{**style.line.options(), **style.marks(), "linestyle": style.line.dashes})
    if all(m.value > 0 for marks in by_label.values() for m in marks):
        axes.set_xscale("log")
    axes.set_xlabel("learning rate" if name == "lr" else name, parse_math=False)
    axes.set_ylabel("validation loss in tuning")
    tidy(axes)
    of_legend = {
        "loc": "upper left",
        "bbox_to_anchor": (1.01, 1.0),
        "frameon": False,
        "fontsize": 9,
        "handlelength": 3.2,
    }
    legend = axes.legend(handles, ["-"] * len(handles), **of_legend)
    for text, label in zip(legend.texts, by_label, strict=True):
        text.set_parse_math(False)
        text.set_text(shortened(label))  # as a legend's label it would be hidden if it began with _
    if strip is not None:
        _failures(strip, {label: by_label[label] for label in failed}, most, styles)
    about = "Each mark is one training; filled: the best of its tuning. "
    about += f"At the top: × diverged, △ ended above {brief(most)}." if failed else ""
    about += " At the bottom: ▼ a loss below the scale." if lower else ""
    head(figure, f"{data.spec.task}: validation loss in tuning", about)
    return figure


def _failures(
    strip: Any, by_label: Mapping[str, Sequence[Mark]], most: float, styles: Mapping[str, MarkerStyle]
) -> None:
    """Trainings that diverged or ended far too high, in a row for each optimizer."""
    for row, (label, marks) in enumerate(by_label.items()):
        colour = styles[label].line.colour
        for mark, values in (
            ("x", [m.value for m in marks if not math.isfinite(m.score)]),
            ("^", [m.value for m in marks if math.isfinite(m.score) and m.score > most]),
        ):
            face = {"markerfacecolor": "none"} if mark == "^" else {}
            strip.plot(values, [row] * len(values), mark, color=colour, markersize=6, markeredgewidth=1.5, **face)
        strip.text(
            1.01,
            row,
            shortened(label),
            transform=strip.get_yaxis_transform(),
            va="center",
            fontsize=9,
            parse_math=False,
        )
    strip.set_ylim(len(by_label) - 0.4, -0.6)
    strip.set_yticks([])
    strip.tick_params(axis="x", which="both", length=0, labelbottom=False)
    strip.spines[["top", "right", "bottom", "left"]].set_visible(False)


def budget(data: ReportData) -> Any:
    """The loss of fresh runs at the best of so many points, with the interval of the mean."""
    budgets, styles = data.judgement.budget, marker_styles(data.labels)
    figure = blank(*SIZE)
    axes = figure.add_subplot()
    limits = data.budget_limits
    seen = [v for curve in budgets.values() for v in (*np.clip(curve.low, *limits), *curve.expected)]
    loss_axis(axes, seen, data.ceiling)
    bottom, top = axes.get_ylim()
    ends = []
    for label, curve in budgets.items():
        style = styles[label]
        low = np.where(curve.low < limits[0], bottom, curve.low)
        axes.fill_between(curve.points, low, curve.high, color=style.line.colour, alpha=_band(budgets), linewidth=0)
        expected = np.maximum(curve.expected, bottom)
        options = {**style.line.options(), **style.marks(), "linestyle": style.line.dashes}
        axes.plot(curve.points, expected, **options)
        ends.append((label, _end(expected, top), style.line))
    points_axis(axes, data.budget_points)
    axes.set_ylabel("validation loss of fresh runs")
    tidy(axes)
    head(
        figure,
        f"{data.spec.task}: validation loss by the size of the tuning",
        "Mean loss of fresh runs if each tuning tries this many points, and its 95% interval, cut off far from the lines.",
    )
    name_lines(axes, ends)
    return figure
