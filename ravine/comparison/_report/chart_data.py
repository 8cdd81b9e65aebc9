"""What the page's script draws: the numbers of every chart, as JSON has them. What is not finite is null there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ravine._plotting.html import numbers, script_style
from ravine._plotting.usual_ratios import USUAL
from ravine.comparison._report.difference_data import Differences
from ravine.comparison._report.figure_style import marker_style
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.report_tables import chosen_text


def chart_data(data: ReportData) -> dict[str, Any]:
    """Everything, with a place for each optimizer in the order of the spec."""
    labels, judgement = data.labels, data.judgement
    return {
        "optimizers": [optimizer_style(index, label) for index, label in enumerate(labels)],
        "ranked": [labels.index(label) for label in data.ranked],
        "seconds": numbers(_seconds(data, label) for label in labels),
        "target": judgement.target.loss if judgement.target else None,
        "curves": [_curve(data, label) for label in labels],
        "sensitivity": {name: _sensitivity(data, name) for name in data.sensitivity},
        "budget": [_budget(data, label) for label in labels],
        "times": _times(data),
        "differences": {name: _differences(one, labels) for name, one in data.differences.items()},
        "watch": _watch(data),
        # the key is the last word of the command
        "command": data.origin.rerun("KEY").removesuffix("KEY"),
    }


def optimizer_style(index: int, label: str) -> dict[str, str]:
    style = marker_style(index)
    return {"label": label, **script_style(style.line), "symbol": style.symbol}


def _seconds(data: ReportData, label: str) -> float:
    seconds = data.result(label).seconds
    return math.nan if seconds is None else seconds.step


def _curve(data: ReportData, label: str) -> dict[str, list[float | None]] | None:
    band = data.curves.get(label)
    if band is None:
        return None
    return {
        "steps": numbers(band.steps),
        "median": numbers(band.median),
        "low": numbers(band.low),
        "high": numbers(band.high),
    }


def _budget(data: ReportData, label: str) -> dict[str, Any] | None:
    curve = data.judgement.budget.get(label)
    if curve is None:
        return None
    return {
        "points": list(curve.points),
        "expected": numbers(curve.expected),
        "low": numbers(np.clip(curve.low, *data.budget_limits)),
        "high": numbers(np.clip(curve.high, *data.budget_limits)),
    }


def _sensitivity(data: ReportData, name: str) -> dict[str, Any]:
    """The marks of each optimizer, how the values are spread, and above which score they stand at the top."""
    one, labels = data.sensitivity[name], data.labels
    return {
        "scale": one.scale,
        "bottom": numbers([one.bottom])[0],
        "top": numbers([one.top])[0],  # rounded as the marks are, so that the highest is not above it
        "notes": [_note(data, name, label) for label in labels],
        "marks": [
            [[m.value, *numbers([m.score]), m.seed, m.chosen] for m in one.tried[label].marks]
            if label in one.tried
            else None
            for label in labels
        ],
    }


def _note(data: ReportData, name: str, label: str) -> str:
    tried = data.sensitivity[name].tried.get(label)
    if tried is None:
        return ""
    return f"chosen {chosen_text(tried.chosen)}; {data.result(label).tuning_diverged or 0.0:.0%} diverged"


def _times(data: ReportData) -> dict[str, Any] | None:
    """The steps of each run to the target; null is a miss, and the last says whether it diverged."""
    if not data.judgement.steps:
        return None
    in_order = [data.judgement.steps[label] for label in data.labels]
    return {
        "horizon": data.horizon,
        "median": numbers(taken.median for taken in in_order),
        "runs": [
            [[seed, *numbers([steps]), seed in taken.diverged] for seed, steps in taken.steps.items()]
            for taken in in_order
        ],
    }


def _differences(one: Differences, labels: list[str]) -> dict[str, Any]:
    return {
        "ratio": one.ratio,
        "higher": one.higher_is_better,
        "margin": numbers(one.margin),
        "rows": [
            {
                "optimizer": labels.index(row.label),
                "ends": numbers((row.middle, row.low, row.high)),
                "verdict": row.verdict,
                "filled": row.may_be_best,
            }
            for row in one.rows
        ],
    }


def _watch(data: ReportData) -> dict[str, Any]:
    """Update over parameter by parameter, in the order of the model, with a place for each optimizer."""
    ratios = data.update_ratios
    rows = [numbers(ratios.get(label, {}).get(name, math.nan) for label in data.labels) for name in data.watched]
    return {"names": data.watched, "rows": rows, "usual": list(USUAL)}
