"""Losses of different tasks on one scale, so that they can be put together.

The normalized score of a loss is (start - loss) / (start - best): 0 where nothing was learned, 1 at the best that tuning
found. ``start`` is the median loss before the first step. ``best`` is the lowest, over the optimizers, of the median of
their best tuning scores; so no run that is judged decides the scale, and a run may have more than 1. A run that diverged, or
ended above its own start, counts as that, which is near 0. On a test function all three are logarithms, as its losses are
compared by ratios.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ravine.comparison._judge import LOSS, Judgement, Metric, OptimizerRuns, values_of
from ravine.comparison._judge.measurements import Array
from ravine.comparison._judge.values import LEAST
from ravine.errors import ComparisonError


@dataclass(frozen=True, eq=False, repr=False)
class TaskScores:
    """What the study of one task gave.

    Attributes:
        task: its name.
        scores: the normalized score of each run, by optimizer; run i of all optimizers has the same seed.
        budget: the same of the runs at the best of the first so many points, by number of points and optimizer.
        steps: the steps of each run to the target, infinite for a miss, by optimizer; empty without a target.
        start, best: the losses of the scores 0 and 1; of a test function their logarithms.
        margin: the largest difference of scores that does not matter.
        looks: after how many runs the study was looked at, as planned; () is one look.
        diverged: the optimizers that diverged in every run.
    """

    task: str
    scores: Mapping[str, Array]
    budget: Mapping[int, Mapping[str, Array]] = field(default_factory=dict)
    steps: Mapping[str, Array] = field(default_factory=dict)
    start: float = 1.0
    best: float = 0.0
    margin: float = 0.0
    looks: tuple[int, ...] = ()
    diverged: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        runs = sorted({len(each) for each in self.scores.values()})
        return f"TaskScores({self.task!r}, {len(self.scores)} optimizers, {' to '.join(map(str, runs))} runs)"


def task_scores(
    task: str,
    optimizers: Sequence[OptimizerRuns],
    judgement: Judgement,
    *,
    ratio: bool = False,
    tunings: int | None = None,
    looks: tuple[int, ...] = (),
) -> TaskScores:
    """The normalized scores of a judged study.

    Args:
        task: its name.
        optimizers: what was measured of each, as it was judged.
        judgement: for the margin and the steps to the target.
        ratio: whether losses are compared on the logarithm.
        tunings: how many tunings decide ``best``, so that it stays when more are added; None is all.
        looks: after how many runs the study was looked at, as planned.

    Raises:
        ComparisonError: no optimizer has learned anything, so there is no scale.
    """
    values = {name: each.array for name, each in values_of(optimizers, Metric(LOSS.name, ratio=ratio)).items()}
    starts = np.array([run.start for each in optimizers for run in each.runs])
    start = float(np.median(starts[np.isfinite(starts)])) if np.isfinite(starts).any() else np.nan
    medians = [float(np.median(each.tuned[:tunings])) for each in optimizers if each.trials]
    finite = [m for m in medians if np.isfinite(m)]
    scaled = (lambda loss: float(np.log(max(loss, LEAST)))) if ratio else float
    start = scaled(start)
    best = scaled(min(finite)) if finite else min(float(each.mean()) for each in values.values())
    if not start > best:
        raise ComparisonError(
            f"On {task} no optimizer ends below the loss that it begins with, so there is nothing to put on a scale."
        )

    def normalized(losses: Array) -> Array:
        return (start - losses) / (start - best)

    scores = {name: normalized(losses) for name, losses in values.items()}
    budgets = sorted({k for each in optimizers for k in each.budget})
    budget = {
        k: {
            each.name: normalized(_scaled_losses(each, k, ratio)) if k in each.budget else scores[each.name]
            for each in optimizers
        }
        for k in budgets
    }
    steps = {
        name: np.array([np.inf if np.isnan(value) else value for value in taken.steps.values()])
        for name, taken in judgement.steps.items()
    }
    margin = 0.0 if judgement.losses is None else judgement.losses.margin / (start - best)
    diverged = frozenset(each.name for each in optimizers if all(run.diverged for run in each.runs))
    return TaskScores(task, scores, budget, steps, start, best, margin, looks, diverged)


def _scaled_losses(optimizer: OptimizerRuns, points: int, ratio: bool) -> Array:
    """The losses after tuning with so many points; a run that diverged, or ended above its start, counts as its start."""
    starts = np.array([run.start for run in optimizer.runs])
    losses = np.asarray(optimizer.budget[points], dtype=float)
    starts = np.where(np.isfinite(starts), starts, np.nanmedian(starts) if np.isfinite(starts).any() else np.inf)
    losses = np.minimum(np.where(np.isfinite(losses), losses, starts), starts)
    return np.log(np.maximum(losses, LEAST)) if ratio else losses
