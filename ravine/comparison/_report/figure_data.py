"""The numbers behind the figures of a report, each computed once by ``report_data``; page, text and pictures draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ravine.comparison._judge import LOSS, Judgement, OptimizerRuns
from ravine.comparison._study.study_spec import TUNING_SEED, StudySpec
from ravine.comparison._study.trial import Trial, TrialResult

Array = NDArray[np.float64]

_FAR = 3.0  # times the loss that trainings begin with


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
    """One tried point: the value of one hyperparameter, and the score, infinite if the training diverged."""

    value: float
    score: float
    seed: int
    chosen: bool


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """The scores of all tuning trials against one hyperparameter.

    Attributes:
        marks: by optimizer, in rising order of the value; only of those that searched the hyperparameter.
        scale: how its range is searched: ``"log"``, ``"linear"`` or ``"complement"``.
        diverged: by optimizer, the share of the points of the first round that diverged, from 0 to 1.
    """

    marks: Mapping[str, Sequence[Mark]]
    scale: str
    diverged: Mapping[str, float]

    def __repr__(self) -> str:
        return f"Sensitivity({self.scale}, {len(self.marks)} optimizers, {sum(map(len, self.marks.values()))} trials)"

    def chosen(self, label: str) -> float:
        """The value of the chosen point of an optimizer; NaN where none was chosen."""
        return next((mark.value for mark in self.marks.get(label, ()) if mark.chosen), math.nan)


def hyperparameters(spec: StudySpec) -> list[str]:
    """The hyperparameters that were searched, the learning rate first."""
    names = dict.fromkeys(name for config in spec.optimizers for name in config.space)
    return sorted(names, key=lambda name: name != "lr")


def sensitivity(spec: StudySpec, optimizers: Sequence[OptimizerRuns], hyperparameter: str) -> Sensitivity:
    """The scores of all tuning trials against one hyperparameter, of the optimizers that searched it."""
    by_label = {}
    for each in optimizers:
        marks = [
            Mark(
                float(t.point[hyperparameter]),
                math.inf if t.diverged else t.score,
                t.seed,
                each.point is not None and dict(t.point) == dict(each.point),
            )
            for t in each.trials
            if hyperparameter in t.point
        ]
        if marks:
            by_label[each.name] = sorted(marks, key=lambda m: m.value)
    scale = next(config.space[hyperparameter].scale for config in spec.optimizers if hyperparameter in config.space)
    return Sensitivity(by_label, scale, {label: _diverged_share(marks) for label, marks in by_label.items()})


def _diverged_share(marks: Sequence[Mark]) -> float:
    """Of the points of the first round, how many diverged; from 0 to 1."""
    first = [m for m in marks if m.seed == TUNING_SEED]
    return sum(not math.isfinite(m.score) for m in first) / len(first) if first else 0.0


def ceiling(trials: Sequence[tuple[Trial, TrialResult]]) -> float:
    """A loss far above those that trainings start with: what lies beyond has failed, and stretches no picture."""
    first = [result.losses[0] for _, result in trials if result.losses and not result.diverged]
    usual = float(np.median(first)) if first else math.inf
    return _FAR * usual if usual > 0 else math.inf


def update_ratios(trials: Sequence[tuple[Trial, TrialResult]]) -> dict[str, dict[str, float]]:
    """Update over parameter, by optimizer and parameter: the median over the fresh runs."""
    seen: dict[str, dict[str, list[float]]] = {}
    for trial, result in trials:
        if trial.kind == "final":
            for name, value in result.watch.items():
                seen.setdefault(trial.label, {}).setdefault(name, []).append(value)
    return {label: {n: float(np.median(v)) for n, v in rows.items()} for label, rows in seen.items()}


def ranked(judgement: Judgement) -> list[str]:
    """The optimizers, best first, by their mean in the headline metric."""
    metric = judgement.headline
    pairs = judgement.pairs[metric.name]
    sign = -1.0 if metric.higher_is_better else 1.0
    against = {pair.first: sign * pair.difference for pair in pairs} | {judgement.base[metric.name]: 0.0}
    return sorted(against, key=lambda name: against[name])


def figure_names(judgement: Judgement, searched: Sequence[str]) -> list[str]:
    """The figures that there are numbers for, by their names in ``EXPLAINED``."""
    there = {
        "curves": True,
        "target": bool(judgement.target and judgement.steps),
        "differences": any(judgement.pairs[name] for name in (judgement.headline.name, LOSS.name)),
        "sensitivity": bool(searched),
        "budget": bool(judgement.budget),
    }
    return [name for name, wanted in there.items() if wanted]
