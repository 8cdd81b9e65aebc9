"""The numbers behind the figures of a report, each computed once by ``report_data``; page, text and pictures draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ravine.comparison._judge import Judgement, OptimizerRuns
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, TrialResult

Array = NDArray[np.float64]

_FAR = 3.0  # times the loss that trainings begin with
_BELOW = 30.0  # times less than the lowest twentieth of the scores: as above
_ABOVE = 3.0  # times the ninth decile of the scores: those above would press all others together

_BEYOND = 0.25  # of the height of the budgets' lines, above and below them


@dataclass(frozen=True)
class Summary:
    """Some runs in two numbers.

    Attributes:
        mean, spread: of their values, the spread being the standard deviation, 0 for one run; NaN without a finite mean.
        runs: how many there are.
    """

    mean: float
    spread: float
    runs: int


def summary(values: Sequence[float]) -> Summary:
    """Mean and standard deviation of a value for each run."""
    if not len(values) or not np.isfinite(values).all():
        return Summary(math.nan, math.nan, len(values))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Summary(float(np.mean(values)), spread, len(values))


@dataclass(frozen=True, eq=False, repr=False)
class Band:
    """An optimizer's fresh runs at the steps where they were measured; a run that diverged counts as infinite.

    Attributes:
        label: the optimizer.
        steps: where the validation loss was measured.
        median, low, high: over the runs, low and high being the best and the worst; infinite where runs are.
        runs, diverged: how many, and how many of them diverged.
    """

    label: str
    steps: Array
    median: Array
    low: Array
    high: Array
    runs: int
    diverged: int

    def __repr__(self) -> str:
        return f"Band({self.label!r}, {len(self.steps)} evaluations, median at the end {self.median[-1]:.4g})"


def bands(optimizers: Sequence[OptimizerRuns]) -> dict[str, Band]:
    """The curves of all optimizers, in the order of the spec; one whose runs all diverged is left out."""
    by_label = {}
    for each in optimizers:
        steps = max((run.curve[0] for run in each.runs if not run.diverged), key=len, default=np.array([]))
        if not len(steps):
            continue
        losses = np.full((len(each.runs), len(steps)), math.inf)
        for row, run in zip(losses, each.runs, strict=True):
            if not run.diverged:
                row[:] = run.curve[1]
        by_label[each.name] = Band(
            each.name,
            steps,
            np.median(losses, axis=0),
            losses.min(axis=0),
            losses.max(axis=0),
            len(each.runs),
            sum(run.diverged for run in each.runs),
        )
    return by_label


@dataclass(frozen=True)
class Mark:
    """One tried point: the value of one hyperparameter, the score, infinite if the training diverged, and whether its
    tuning chose it."""

    value: float
    score: float
    seed: int
    chosen: bool


@dataclass(frozen=True, repr=False)
class Tried:
    """What one optimizer tried of one hyperparameter.

    Attributes:
        marks: all of it, in rising order of the value.
        low, high: the least and the largest value.
        values: how many different ones there are.
        best: the lowest score.
        chosen: the median of the values that tunings chose, and the least and the largest of them; NaN without.
    """

    marks: Sequence[Mark]
    low: float
    high: float
    values: int
    best: float
    chosen: tuple[float, float, float]

    def __repr__(self) -> str:
        return f"Tried({len(self.marks)} trials from {self.low:g} to {self.high:g}, chosen {self.chosen[0]:g})"


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """The scores of all tuning trials against one hyperparameter.

    Attributes:
        tried: by optimizer; only of those that searched the hyperparameter.
        scale: how its range is searched: ``"log"``, ``"linear"`` or ``"complement"``.
        bottom, top: between which scores a chart reaches, so that a few far beyond do not press the others together; those
            far above stretch only the interactive one.
    """

    tried: Mapping[str, Tried]
    scale: str
    bottom: float
    top: float

    def __repr__(self) -> str:
        trials = sum(len(tried.marks) for tried in self.tried.values())
        return f"Sensitivity({self.scale}, {len(self.tried)} optimizers, {trials} trials)"


def hyperparameters(spec: StudySpec) -> list[str]:
    """The hyperparameters that were searched, the learning rate first."""
    names = dict.fromkeys(name for config in spec.optimizers for name in config.space)
    return sorted(names, key=lambda name: name != "lr")


def sensitivity(spec: StudySpec, optimizers: Sequence[OptimizerRuns], hyperparameter: str) -> Sensitivity:
    """The scores of the tuning trials that were not stopped against one hyperparameter, of those that searched it."""
    tried = {}
    for each in optimizers:
        tunings = dict.fromkeys(t.seed for t in each.trials)  # each is followed by a run
        chosen = {(seed, tuple(sorted(run.point.items()))) for seed, run in zip(tunings, each.runs, strict=False)}
        marks = [
            Mark(float(t.point[hyperparameter]), math.inf if t.diverged else t.score, t.seed, (t.seed, t.key) in chosen)
            for t in each.trials
            if hyperparameter in t.point and not t.stopped
        ]
        if marks:
            tried[each.name] = _tried(sorted(marks, key=lambda m: m.value))
    scale = next(config.space[hyperparameter].scale for config in spec.optimizers if hyperparameter in config.space)
    scores = [m.score for each in tried.values() for m in each.marks if math.isfinite(m.score)]
    return Sensitivity(tried, scale, _bottom(scores, spec.ratio), _top(scores))


def _tried(marks: Sequence[Mark]) -> Tried:
    """The marks, in rising order of the value, and what is said of them."""
    chosen = [m.value for m in marks if m.chosen]
    middle = (float(np.median(chosen)), chosen[0], chosen[-1]) if chosen else (math.nan,) * 3
    values = len({m.value for m in marks})
    return Tried(marks, marks[0].value, marks[-1].value, values, min(m.score for m in marks), middle)


def _bottom(scores: Sequence[float], ratio: bool) -> float:
    """The lowest score, or one below which only a few lie far away; where ratios matter no score is too low."""
    low = min(scores, default=0.1)
    return low if ratio or low <= 0 or not scores else max(low, float(np.quantile(scores, 0.05)) / _BELOW)


def _top(scores: Sequence[float]) -> float:
    top = max(scores, default=1.0)
    return min(top, _ABOVE * float(np.quantile(scores, 0.9))) if scores and min(scores) > 0 else top


def ceiling(trials: Sequence[tuple[Trial, TrialResult]]) -> float:
    """A loss far above those that trainings start with: what lies beyond has failed, and stretches no picture."""
    first = [result.losses[0] for _, result in trials if result.losses and not result.diverged]
    usual = float(np.median(first)) if first else math.inf
    return _FAR * usual if usual > 0 else math.inf


def curves_ceiling(curves: Mapping[str, Band]) -> float:
    """Where a picture of the curves ends: far above where the worst of them starts."""
    starts = [band.median[0] for band in curves.values() if math.isfinite(band.median[0])]
    return _FAR * max(starts) if starts and max(starts) > 0 else math.inf


def budget_points(judgement: Judgement) -> list[int]:
    """The numbers of points that any optimizer has a loss for."""
    return sorted({k for curve in judgement.budget.values() for k in curve.points})


def budget_limits(judgement: Judgement) -> tuple[float, float]:
    """Between which losses a picture of the budgets reaches: a little beyond its lines.

    The intervals of a few runs are far wider, and go below 0 where no loss can be.
    """
    means = [float(v) for curve in judgement.budget.values() for v in curve.expected if math.isfinite(v)]
    low, high = min(means, default=0.1), max(means, default=1.0)
    if low > 0:
        room = max((high / low) ** _BEYOND, 1.05)
        return low / room, high * room
    room = _BEYOND * (high - low) or 0.1
    return (low - room if low < 0 else 0.0), high + room


def horizon(judgement: Judgement) -> float:
    """The steps that a run was given to reach the target; NaN without a target."""
    return max((taken.horizon for taken in judgement.steps.values()), default=math.nan)


def update_ratios(
    trials: Sequence[tuple[Trial, TrialResult]], optimizers: Sequence[OptimizerRuns]
) -> dict[str, dict[str, float]]:
    """Update over parameter, by optimizer and parameter: the median over the fresh runs at the points that were chosen."""
    compared = {(each.name, run.seed, *sorted(run.point.items())) for each in optimizers for run in each.runs}
    seen: dict[str, dict[str, list[float]]] = {}
    for trial, result in trials:
        if trial.kind == "final" and (trial.label, trial.seed, *sorted(trial.point.items())) in compared:
            for name, value in result.watch.items():
                seen.setdefault(trial.label, {}).setdefault(name, []).append(value)
    return {label: {n: float(np.median(v)) for n, v in rows.items()} for label, rows in seen.items()}


def figure_names(judgement: Judgement, searched: Sequence[str]) -> list[str]:
    """The figures that there are numbers for, by their names in ``EXPLAINED``."""
    there = {
        "curves": True,
        "target": bool(judgement.target and judgement.steps),
        "differences": bool(judgement.compared),
        "sensitivity": bool(searched),
        "budget": bool(judgement.budget),
    }
    return [name for name, wanted in there.items() if wanted]
