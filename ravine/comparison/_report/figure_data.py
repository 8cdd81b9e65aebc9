"""The numbers behind the figures of a report, each computed once by ``report_data``; page, text and pictures draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ravine.comparison._judge import LOSS, Arm, Judgement
from ravine.comparison._study.study_spec import TUNING_SEED, Spec
from ravine.comparison._study.trial import Job, Outcome

Array = NDArray[np.float64]

_FAR = 3.0  # times the loss that trainings begin with


@dataclass(frozen=True, eq=False)
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


def bands(arms: Sequence[Arm]) -> dict[str, Band]:
    """The curves of all optimizers, in the order of the spec; one whose runs all diverged is left out."""
    found = {}
    for arm in arms:
        steps = max((run.curve[0] for run in arm.runs if not run.diverged), key=len, default=np.array([]))
        if not len(steps):
            continue
        losses = np.full((len(arm.runs), len(steps)), math.inf)
        for row, run in zip(losses, arm.runs, strict=True):
            if not run.diverged:
                row[:] = run.curve[1]
        found[arm.name] = Band(
            arm.name,
            steps,
            np.median(losses, axis=0),
            losses.min(axis=0),
            losses.max(axis=0),
            len(arm.runs),
            sum(run.diverged for run in arm.runs),
        )
    return found


@dataclass(frozen=True)
class Mark:
    """One tried point: the value of one hyperparameter, and the score, infinite if the training diverged."""

    value: float
    score: float
    seed: int
    chosen: bool


@dataclass(frozen=True)
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

    def chosen(self, label: str) -> float:
        """The value of the chosen point of an optimizer; NaN where none was chosen."""
        return next((mark.value for mark in self.marks.get(label, ()) if mark.chosen), math.nan)


def hyperparameters(spec: Spec) -> list[str]:
    """The hyperparameters that were searched, the learning rate first."""
    names = dict.fromkeys(name for arm in spec.arms for name in arm.space)
    return sorted(names, key=lambda name: name != "lr")


def sensitivity(spec: Spec, arms: Sequence[Arm], hyperparameter: str) -> Sensitivity:
    """The scores of all tuning trials against one hyperparameter, of the optimizers that searched it."""
    found = {}
    for arm in arms:
        marks = [
            Mark(
                float(t.point[hyperparameter]),
                math.inf if t.diverged else t.score,
                t.seed,
                arm.point is not None and dict(t.point) == dict(arm.point),
            )
            for t in arm.trials
            if hyperparameter in t.point
        ]
        if marks:
            found[arm.name] = sorted(marks, key=lambda m: m.value)
    scale = next(arm.space[hyperparameter].scale for arm in spec.arms if hyperparameter in arm.space)
    return Sensitivity(found, scale, {label: _diverged_share(marks) for label, marks in found.items()})


def _diverged_share(marks: Sequence[Mark]) -> float:
    """Of the points of the first round, how many diverged; from 0 to 1."""
    first = [m for m in marks if m.seed == TUNING_SEED]
    return sum(not math.isfinite(m.score) for m in first) / len(first) if first else 0.0


def ceiling(jobs: Sequence[tuple[Job, Outcome]]) -> float:
    """A loss far above those that trainings start with: what lies beyond has failed, and stretches no picture."""
    first = [o.losses[0] for _, o in jobs if o.losses and not o.diverged]
    usual = float(np.median(first)) if first else math.inf
    return _FAR * usual if usual > 0 else math.inf


def update_ratios(jobs: Sequence[tuple[Job, Outcome]]) -> dict[str, dict[str, float]]:
    """Update over parameter, by optimizer and parameter: the median over the fresh runs."""
    seen: dict[str, dict[str, list[float]]] = {}
    for job, outcome in jobs:
        if job.kind == "confirm":
            for name, value in outcome.watch.items():
                seen.setdefault(job.label, {}).setdefault(name, []).append(value)
    return {label: {n: float(np.median(v)) for n, v in rows.items()} for label, rows in seen.items()}


def ranked(judgement: Judgement) -> list[str]:
    """The optimizers, best first, by their mean in the headline measure."""
    measure = judgement.headline
    pairs = judgement.pairs[measure.name]
    sign = -1.0 if measure.higher_is_better else 1.0
    against = {pair.first: sign * pair.difference for pair in pairs} | {judgement.base[measure.name]: 0.0}
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
