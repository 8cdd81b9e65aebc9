"""A study in one table and a few sentences, for a terminal."""

from __future__ import annotations

import math

import numpy as np

from ravine.comparison._judge import Arm
from ravine.comparison._report.figures import ranked
from ravine.comparison._study.result import Result


def title(result: Result) -> str:
    """What was compared, in one line."""
    spec = result.spec
    return (
        f"{spec.task}: {len(spec.arms)} optimizers, {spec.points} points, {spec.seeds} fresh seeds, {spec.steps} steps"
    )


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """The heads and rows of the table: each optimizer at its best point, over its fresh seeds, the best first."""
    arms = {arm.name: arm for arm in result.arms}
    metrics = list(dict.fromkeys(name for arm in result.arms for run in arm.runs for name in run.metrics))
    metrics = [name for name in metrics if name != "test loss"]
    heads = ["optimizer", "best point", "reached target", "median steps", "validation loss", *metrics, "ms a step"]
    return heads, [_row(result, arms[label], metrics) for label in ranked(result.judgement)]


def words(result: Result) -> str:
    """The verdict, and what speaks against the comparison."""
    judgement = result.judgement
    said = [judgement.target.sentence] if judgement.target is not None else []
    return "\n".join([judgement.sentence, *said, *(f"Note: {w.sentence}" for w in judgement.warnings)])


def _row(result: Result, arm: Arm, metrics: list[str]) -> list[str]:
    judgement, point = result.judgement, result.stage.chosen.get(arm.name, {})
    taken, seconds = judgement.steps.get(arm.name), result.seconds.get(arm.name)
    runs = [run for run in arm.runs if not run.diverged]
    cells = [arm.name, "\n".join(f"{name} {value:.3g}" for name, value in point.items())]
    if taken is None:
        cells += ["", ""]
    else:
        cells += [f"{len(taken.steps) - len(taken.missed)} of {len(taken.steps)}"]
        cells += [f"{taken.median:.0f}" if math.isfinite(taken.median) else "missed"]
    cells.append(f"{_mean([run.score for run in runs]):.4g}" if runs else "diverged")
    for name in metrics:
        value = _mean([run.metrics[name] for run in runs if name in run.metrics])
        cells.append("" if math.isinf(value) else f"{value:.1%}" if name == "accuracy" else f"{value:.4g}")
    return [*cells, f"{seconds.step * 1e3:.3g}" if seconds else ""]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.inf
