"""The table of results: a line for each optimizer, best first, with its numbers rounded to what they are known to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ravine.comparison._judge import Arm, Judgement
from ravine.comparison._judge.words import number
from ravine.comparison._report.figures import ranked
from ravine.comparison._study.result import Result

NOTHING = "–"
_LEAST, _MOST = 1e-6, 1e7  # numbers beyond are written with powers of ten


def results(result: Result, judgement: Judgement) -> tuple[list[str], list[list[str]]]:
    """The heads and the lines; the first column has the labels."""
    metrics = list(dict.fromkeys(name for arm in result.arms for run in arm.runs for name in run.metrics))
    arms = {arm.name: arm for arm in result.arms}
    heads = ["optimizer", "best point"]
    heads += ["reached the target", "median steps to it"] if judgement.steps else []
    heads += ["validation loss", *(name.replace("_", " ") for name in metrics)]
    heads += ["ms per step"] if result.seconds else []
    heads += ["diverged in tuning"]
    lines = []
    for label in ranked(judgement):
        arm = arms[label]
        point = arm.point or {}
        line = [label, ", ".join(f"{name} {number(value, 3)}" for name, value in point.items()) or NOTHING]
        if judgement.steps:
            found = judgement.steps[label]
            reached = len(found.steps) - len(found.missed)
            median = number(found.median, 3) if math.isfinite(found.median) else NOTHING
            line += [f"{reached} of {len(found.steps)}", median]
        line.append(_over_runs([run.score for run in arm.runs if not run.diverged], arm))
        line += [
            _over_runs([r.metrics[n] for r in arm.runs if n in r.metrics and not r.diverged], arm) for n in metrics
        ]
        if result.seconds:
            line.append(number(1e3 * result.seconds[label].step, 3) if label in result.seconds else NOTHING)
        sweep = arm.sweep
        line.append(f"{sum(t.diverged for t in sweep) / len(sweep):.0%}" if sweep else NOTHING)
        lines.append(line)
    return heads, lines


def _over_runs(values: Sequence[float], arm: Arm) -> str:
    lost = f" ({len(values)} of {len(arm.runs)} runs)" if 0 < len(values) < len(arm.runs) else ""
    return mean_and_spread(values) + lost


def mean_and_spread(values: Sequence[float]) -> str:
    """``0.312 ± 0.011``: the spread with two digits, the mean as far as it is known."""
    if not len(values) or not np.isfinite(values).all():
        return NOTHING
    mean = float(np.mean(values))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    if mean and not _LEAST <= max(abs(mean), spread) < _MOST:
        return f"{mean:.3g} ± {spread:.2g}" if spread else f"{mean:.3g}"
    if spread <= 1e-12 * abs(mean):
        return number(mean, 4)
    digits = min(max(0, 1 - math.floor(math.log10(spread))), 9)
    return f"{mean:,.{digits}f} ± {spread:,.{digits}f}"
