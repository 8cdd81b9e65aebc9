"""Runs trials of a study in this process: together where their task and optimizer allow it, else one by one.

Which of the two is decided by task and optimizer alone, never by what else is to be done: a trial gives the same numbers
whoever runs it, and beside whichever others.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch

from ravine._compat.torch import has_step_hooks
from ravine._one_thread import one_thread
from ravine.comparison._study.schedules import schedule_of_training
from ravine.comparison._study.stacked_task import WIDTH, StackedTask, stacked_task
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Ended, Trial, TrialResult, first_model, never, run
from ravine.comparison._study.trial_block import run_block
from ravine.optim import Optimizer
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task
from ravine.train import ReduceOnPlateau
from ravine.train._stepping import needs_closure


class TrialRunner:
    """Runs trials of one study.

    Args:
        spec, task: the study's.
        optimizers: the spec's by label, made for the task.
    """

    def __init__(self, spec: StudySpec, task: Task, optimizers: Mapping[str, OptimizerSpec]) -> None:
        self._spec, self._task, self._optimizers = spec, task, optimizers
        self._shares: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f"TrialRunner({self._spec!r})"

    def next_block(self, free: Sequence[Trial]) -> Sequence[Trial]:
        """Those of some trials that are to be run next, together: the first, and others that can share its time."""
        if not free or not self.together(free[0].label):
            return free[:1]
        steps = free[0].steps(self._spec)
        return [trial for trial in free if trial.steps(self._spec) == steps and self.together(trial.label)][:WIDTH]

    def together(self, label: str) -> bool:
        """Whether trials of this optimizer are run together."""
        if label not in self._shares:
            config = self._spec.config(label)
            schedule = schedule_of_training(self._spec.schedule_of(label), self._spec.steps)
            self._shares[label] = (
                self._stacked is not None
                and not isinstance(schedule, ReduceOnPlateau)  # it waits for the validation loss of an epoch
                and can_share(self._task, self._optimizers[label].at(config.middle))
            )
        return self._shares[label]

    def run(self, trials: Sequence[Trial], ended: Ended = never) -> list[TrialResult]:
        """Train those of :meth:`next_block`; what a task or an optimizer raises is the failure of its trial.

        Args:
            trials: which.
            ended: whether a trial's training is to end early, asked after each step; what it then gives means nothing.
        """
        try:
            if self._stacked is not None and self.together(trials[0].label):
                return run_block(self._spec, self._stacked, trials, self._optimizers, ended)
            return [run(self._spec, self._task, trial, self._optimizers[trial.label], ended) for trial in trials]
        except Exception:
            if len(trials) == 1:
                return [TrialResult(error=traceback.format_exc())]
        half = len(trials) // 2  # whose failure it is
        return [*self.run(trials[:half], ended), *self.run(trials[half:], ended)]

    @cached_property
    def _stacked(self) -> StackedTask | None:
        return stacked_task(self._task)


def can_share(task: Task, optimizer: OptimizerSpec) -> bool:
    """Whether trainings with an optimizer can be done together: it is ours or torch's, so it draws no random numbers, does
    not evaluate the batch again, and nothing else happens around its step."""
    try:
        with one_thread(), torch.random.fork_rng(devices=[]):
            made = optimizer.build(list(first_model(task, 0).parameters()))
    except Exception:  # what it raises is raised again where it trains
        return False
    ours = isinstance(made, Optimizer) and type(made).step is Optimizer.step
    torchs = type(made).__module__.startswith("torch.optim.")
    plain = not has_step_hooks(made) and "step" not in vars(made)
    return (ours or torchs) and plain and not needs_closure(made)
