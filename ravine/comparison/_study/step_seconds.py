"""Seconds of a step, measured alone: nothing else of the study runs meanwhile, and the optimizers take turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ravine._one_thread import one_thread
from ravine.comparison._study.trial import validation_split
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task
from ravine.train import Callback, Fit

_TURNS, _STEPS, _COLD = 5, 20, 2  # steps of a turn, and how many of them find cold caches


@dataclass(frozen=True)
class StepSeconds:
    """What one step takes.

    Attributes:
        step: seconds of all of it: batch, forward, backward and the optimizer's step; the median over turns.
        optimizer_fraction: how much of that is the optimizer's step, from 0 to 1.
    """

    step: float
    optimizer_fraction: float


def measure_seconds(
    task: Task, optimizers: Mapping[str, OptimizerSpec], chosen: Mapping[str, Mapping[str, float]]
) -> dict[str, StepSeconds]:
    """The seconds of a step of each optimizer at its chosen point, on one thread; of those that could be measured.

    Args:
        task, optimizers: the study's, the optimizers by label.
        chosen: the point of each optimizer, by label.
    """
    training, _ = validation_split(task, 0)
    turns: dict[str, list[tuple[float, float]]] = {label: [] for label in chosen}
    with one_thread(), torch.random.fork_rng(devices=[]):
        for _ in range(_TURNS):
            for label, point in chosen.items():
                build = optimizers[label].at(point).build
                learn = training.learner(build, seed=0, callbacks=[_StopAfterTurn()], quiet=True)
                learn.valid = None
                try:
                    learn.fit(-(-_STEPS // training.steps_per_epoch))
                except Exception:  # a task may fail at times, and a study that is done is not lost for it
                    continue
                parts = {name: np.asarray(values)[_COLD:] for name, values in learn.recorder.seconds.items()}
                whole = np.sum(list(parts.values()), axis=0)
                if len(whole):
                    turns[label].append((float(np.median(whole)), float(np.median(parts["step"] / whole))))
    return {
        label: StepSeconds(*(float(np.median([turn[i] for turn in measured])) for i in (0, 1)))
        for label, measured in turns.items()
        if measured
    }


class _StopAfterTurn(Callback):
    """Ends a turn."""

    def after_step(self, fit: Fit) -> None:
        if fit.state.step == _STEPS:
            fit.stop("measured")
