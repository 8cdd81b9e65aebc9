"""What the page's script draws: the numbers of every chart, as JSON has them. What is not finite is null there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ravine.comparison._judge import Judgement
from ravine.comparison._report import figures
from ravine.comparison._report.tables import short
from ravine.comparison._study.result import Result
from ravine.plotting._html import look, strong
from ravine.plotting._style import line

#: None of them is a cross: that marks what diverged or missed.
_SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "bowtie",
    "triangle-down",
    "star",
    "hourglass",
    "triangle-left",
)
#: Scores above so many times the ninth decile would press all others together; they stand at the top.
_ABOVE = 3.0


def charts(result: Result, judgement: Judgement) -> dict[str, Any]:
    """Everything, with a place for each optimizer in the order of the spec."""
    labels = [arm.label for arm in result.spec.arms]
    bands, budget, ratios = figures.bands(result), judgement.budget, figures.ratios(result)
    seconds = {label: found.step for label, found in result.seconds.items()}
    return {
        "optimizers": [_look(index, label) for index, label in enumerate(labels)],
        "seconds": numbers(seconds.get(label, math.nan) for label in labels),
        "target": judgement.target.loss if judgement.target else None,
        "curves": [
            {"steps": numbers(b.steps), "median": numbers(b.median), "low": numbers(b.low), "high": numbers(b.high)}
            if (b := bands.get(label))
            else None
            for label in labels
        ],
        "sensitivity": {name: _sensitivity(result, name, labels) for name in figures.hyperparameters(result)},
        "budget": [
            {
                "points": list(c.points),
                "expected": numbers(c.expected),
                "low": numbers(c.low),
                "high": numbers(c.high),
            }
            if (c := budget.get(label))
            else None
            for label in labels
        ],
        "times": _times(judgement, labels),
        "differences": {name: _differences(judgement, name, labels) for name in judgement.pairs},
        "watch": _watch(ratios, labels),
        # the key is the last word of the command
        "command": result.about.rerun("KEY").removesuffix("KEY"),
    }


def numbers(values: Iterable[float]) -> list[float | None]:
    """For JSON, which has no number for what is not finite; six digits are more than a picture shows."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _look(index: int, label: str) -> dict[str, str]:
    found = look(line(index, False))
    colour = strong(found["colour"])
    return {"label": label, **found, "colour": colour, "symbol": _SYMBOLS[index % len(_SYMBOLS)]}


def _sensitivity(result: Result, name: str, labels: list[str]) -> dict[str, Any]:
    """The marks of each optimizer, how the values are spread, and above which score they stand at the top."""
    found = figures.sensitivity(result, name)
    scores = [mark.score for marks in found.values() for mark in marks if math.isfinite(mark.score)]
    top = max(scores, default=1.0)
    if scores and min(scores) > 0:
        top = min(top, _ABOVE * float(np.quantile(scores, 0.9)))
    scales = [arm.space[name].scale for arm in result.spec.arms if name in arm.space]
    return {
        "scale": scales[0],
        "top": top,
        "notes": [_note(found.get(label, [])) for label in labels],
        "alone": [list(arm.space) == [name] for arm in result.spec.arms],
        "marks": [
            [[m.value, *numbers([m.score]), m.seed, m.chosen] for m in found[label]] if label in found else None
            for label in labels
        ],
    }


def _note(marks: list[figures.Mark]) -> str:
    chosen = next((m.value for m in marks if m.chosen), math.nan)
    return f"chosen {short(chosen)}; {figures.diverged_share(marks):.0%} diverged"


def _times(judgement: Judgement, labels: list[str]) -> dict[str, Any] | None:
    """The steps of each run to the target; null is a miss, and the last says whether it diverged."""
    if not judgement.steps:
        return None
    steps = [judgement.steps[label] for label in labels]
    return {
        "horizon": max(found.horizon for found in steps),
        "median": numbers(found.median for found in steps),
        "runs": [
            [[seed, *numbers([taken]), seed in found.diverged] for seed, taken in found.steps.items()]
            for found in steps
        ],
    }


def _differences(judgement: Judgement, name: str, labels: list[str]) -> dict[str, Any]:
    pairs = judgement.pairs[name]
    ratio = bool(pairs) and pairs[0].measure.ratio
    ends = [(p.difference, p.low, p.high) for p in pairs]
    return {
        "ratio": ratio,
        "higher": bool(pairs) and pairs[0].measure.higher_is_better,
        "base": judgement.base[name],
        "pairs": [
            {
                "optimizer": labels.index(pair.first),
                "ends": numbers(np.exp(end) if ratio else end),
                "kind": pair.kind,
            }
            for pair, end in zip(pairs, ends, strict=True)
        ],
    }


def _watch(ratios: dict[str, dict[str, float]], labels: list[str]) -> dict[str, Any]:
    """Update over parameter by parameter, in the order of the model, with a place for each optimizer."""
    names = list(dict.fromkeys(name for rows in ratios.values() for name in rows))
    rows = [numbers(ratios.get(label, {}).get(name, math.nan) for label in labels) for name in names]
    return {"names": names, "rows": rows}
