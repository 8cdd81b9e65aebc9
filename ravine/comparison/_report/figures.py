"""The numbers behind every figure, and the sentence that explains it to a reader who has never seen one.

The page, the text and the pictures draw from here, so that they never differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ravine.comparison._judge import LOSS, Judgement
from ravine.comparison._study.result import Result
from ravine.comparison._study.spec import TUNING_SEED

Array = NDArray[np.float64]

EXPLAINED: Mapping[str, str] = {
    "results": "Every optimizer at the best point of its search space, over its fresh seeds, the best first; whether "
    "two of them differ is told under the differences.",
    "curves": "Each line is the median validation loss of an optimizer's fresh runs, lower is better; the band "
    "goes from its best to its worst run.",
    "sensitivity": "Each mark is a training with another value of the hyperparameter: a wide valley forgives a bad "
    "guess, a narrow one does not, and crosses at the top diverged.",
    "budget": "Who tries only so many points of an optimizer's search space can expect this loss from the best of "
    "them: the optimizer whose line is lowest at your number of tries is yours.",
    "target": "Each mark is a run and how many steps it took to the target loss, fewer is better; a run that never "
    "got there stands at the right as a miss and counts with all its steps.",
    "differences": "Each line is the difference to the best optimizer on the same seeds with its 95% interval: "
    "where it crosses no difference, these runs cannot tell the two apart.",
    "watch": "How far one step moves a parameter, as a share of the parameter's own size, in the median over the "
    "run: about 0.001 is usual, and parts that differ by much learn at different speeds.",
    "seconds": "What one step takes, measured alone on one thread: all of it, and the part that is the optimizer's.",
    "formulas": "What one step computes, for every number of every parameter: θ is the parameter, g its gradient, "
    "u the update, t the number of the step.",
    "curses": "The best of many noisy scores is partly luck: this holds the score that the chosen point had in tuning "
    "against its mean over fresh seeds, and only the fresh one may be quoted.",
    "failures": "Trainings that stopped with an error of the program; they count as diverged.",
    "spec": "What was declared before the first training ran: the same declaration gives the same numbers anywhere.",
    "trials": "Every training of the study: those of tuning, which chose the hyperparameters, and those that confirm "
    "the choice with fresh seeds.",
}


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


def bands(result: Result) -> dict[str, Band]:
    """The curves of all optimizers, in the order of the spec; one whose runs all diverged is left out."""
    found = {}
    for arm in result.arms:
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


def hyperparameters(result: Result) -> list[str]:
    """The hyperparameters that were searched, the learning rate first."""
    names = dict.fromkeys(name for arm in result.spec.arms for name in arm.space)
    return sorted(names, key=lambda name: name != "lr")


def sensitivity(result: Result, hyperparameter: str = "lr") -> dict[str, list[Mark]]:
    """The scores of all tuning trials against one hyperparameter, of the optimizers that searched it."""
    found = {}
    for arm in result.arms:
        chosen = result.stage.chosen.get(arm.name)
        marks = [
            Mark(
                float(t.point[hyperparameter]),
                math.inf if t.diverged else t.score,
                t.seed,
                chosen is not None and dict(t.point) == dict(chosen),
            )
            for t in arm.trials
            if hyperparameter in t.point
        ]
        if marks:
            found[arm.name] = sorted(marks, key=lambda m: m.value)
    return found


def diverged_share(marks: Sequence[Mark]) -> float:
    """Of the points of the first round, how many diverged; from 0 to 1."""
    first = [m for m in marks if m.seed == TUNING_SEED]
    return sum(not math.isfinite(m.score) for m in first) / len(first) if first else 0.0


def shown(result: Result, judgement: Judgement) -> list[str]:
    """The pictures that there are numbers for, by their names in ``EXPLAINED``."""
    there = {
        "curves": True,
        "target": bool(judgement.target and judgement.steps),
        "differences": any(judgement.pairs[name] for name in (judgement.headline.name, LOSS.name)),
        "sensitivity": bool(hyperparameters(result)),
        "budget": bool(judgement.budget),
    }
    return [name for name, wanted in there.items() if wanted]


def ranked(judgement: Judgement) -> list[str]:
    """The optimizers, best first, by their mean in the headline measure."""
    measure = judgement.headline
    pairs = judgement.pairs[measure.name]
    sign = -1.0 if measure.higher_is_better else 1.0
    against = {pair.first: sign * pair.difference for pair in pairs} | {judgement.base[measure.name]: 0.0}
    return sorted(against, key=lambda name: against[name])


def ratios(result: Result) -> dict[str, dict[str, float]]:
    """Update over parameter, by optimizer and parameter: the median over the fresh runs."""
    seen: dict[str, dict[str, list[float]]] = {}
    for job, outcome in result.jobs():
        if job.kind == "confirm":
            for name, value in outcome.watch.items():
                seen.setdefault(job.label, {}).setdefault(name, []).append(value)
    return {label: {n: float(np.median(v)) for n, v in rows.items()} for label, rows in seen.items()}
