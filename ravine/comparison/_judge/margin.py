"""The largest difference that does not matter: declared, or what the choice of the seed alone makes.

Its size is never taken from the runs that are judged. Without a declaration it is the spread of the best scores of the tunings,
from one tuning of an optimizer to the next: whoever trains once cannot notice less.
"""

from collections.abc import Sequence

import numpy as np

from ravine.comparison._judge.measurements import Array, Metric, OptimizerRuns, finite_number
from ravine.comparison._judge.values import LEAST
from ravine.errors import OptionError, shown


def parse_margin(text: object) -> tuple[float, bool]:
    """A margin as written: ``0.01``, or ``1%``; and whether it is a share.

    Raises:
        OptionError: it is neither.
    """
    if not isinstance(text, str):
        example = str(text) if finite_number(text) and not str(text).startswith("-") else "0.01"
        raise OptionError(
            f"margin = {shown(text)}: write a difference as text, such as '{example}', or a share, such as '1%'."
        )
    try:
        share = text.strip().endswith("%")
        value = float(text.strip().removesuffix("%")) / (100 if share else 1)
    except ValueError:
        value, share = float("nan"), False
    if not (np.isfinite(value) and value >= 0):
        raise OptionError(f"margin = {text!r}: write a difference, such as 0.01, or a share, such as 1%.")
    return value, share


def margin_of(optimizers: Sequence[OptimizerRuns], metric: Metric, text: str = "", tunings: int | None = None) -> float:
    """The margin in the metric's own unit; of a ratio on the logarithm.

    Args:
        optimizers: with their tuning trials, of which only the best score of each tuning is used.
        metric: the loss, or its ratio.
        text: as declared; empty is the spread between tunings, the median over the better half of the optimizers.
        tunings: how many tunings count, so that the margin stays when more are added; None is all.
    """
    scores = [np.array(each.tuned[:tunings]) for each in optimizers]
    scores = [s[np.isfinite(s)] for s in scores]
    if metric.ratio:
        scores = [np.log(np.maximum(s, LEAST)) for s in scores]
    scores = sorted((s for s in scores if s.size), key=lambda s: float(np.median(s)))
    if text:
        value, share = parse_margin(text)
        if metric.ratio:
            return float(np.log1p(value))
        return value * _scale(optimizers, scores) if share else value
    return usual_spread(scores)


def usual_spread(scores: Sequence[Array]) -> float:
    """The median standard deviation over the better half of the optimizers, by the median of their scores; 0 without any.

    Of scores lower is better; an optimizer with one of them has no spread.
    """
    ordered = sorted((s for s in scores if s.size), key=lambda s: float(np.median(s)))
    better = [float(s.std(ddof=1)) for s in ordered[: (len(ordered) + 1) // 2] if s.size > 1]
    return float(np.median(better)) if better else 0.0


def _scale(optimizers: Sequence[OptimizerRuns], scores: Sequence[Array]) -> float:
    """What a margin is a share of: the median score of the best optimizer; without any tuning, that of its runs."""
    if scores:
        return abs(float(np.median(scores[0])))
    losses = [[run.score for run in each.runs if not run.diverged] for each in optimizers]
    return min((abs(float(np.median(each))) for each in losses if each), default=0.0)
