"""Trains several trials at once, as copies of one model: each with its own weights, rows, optimizer and schedule.

What a trial gives is what it gives in a block of its own: copies share the time that operations on small tensors take
before they compute anything, and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ravine._one_thread import one_thread
from ravine.comparison._study.schedules import schedule_of_training
from ravine.comparison._study.stacked_task import EVALUATED, WIDTH, StackedTask
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import (
    Ended,
    Trial,
    TrialResult,
    first_model,
    is_measured,
    never,
    split_rows,
    update_ratios,
)
from ravine.optim._spec import OptimizerSpec
from ravine.optim._stacked_step import StackedStep
from ravine.train import _evaluate as evaluation
from ravine.train._batches import epoch_order
from ravine.train._forward import ForwardPass
from ravine.train._schedules.scheduled import Scheduled


def run_block(
    spec: StudySpec,
    stacked: StackedTask,
    trials: Sequence[Trial],
    optimizers: Mapping[str, OptimizerSpec],
    ended: Ended = never,
) -> list[TrialResult]:
    """Train at most ``WIDTH`` trials of a spec, of any of its optimizers.

    Args:
        spec, stacked: the study's, and its task.
        trials: which; all of them end after as many steps.
        optimizers: the spec's by label, made for the task.
        ended: whether a trial makes no more steps, because somebody has ended it.

    Whatever the task or one of the optimizers raises is raised here.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        return _Block(spec, stacked, trials, optimizers).run(ended)


class _Copy:
    """What belongs to one trial."""

    def __init__(self, trial: Trial, optimizer: torch.optim.Optimizer, schedule: Scheduled | None) -> None:
        self.trial, self.optimizer, self.schedule = trial, optimizer, schedule
        self.alive = True  # every loss of a batch was finite
        self.steps: list[int] = []
        self.losses: list[float] = []

    @property
    def finite(self) -> bool:
        """Whether it has not diverged."""
        return self.alive and all(map(math.isfinite, self.losses))


class _Block:
    def __init__(
        self,
        spec: StudySpec,
        stacked: StackedTask,
        trials: Sequence[Trial],
        optimizers: Mapping[str, OptimizerSpec],
    ) -> None:
        self._spec, self._stacked, self._task = spec, stacked, stacked.task
        self._last = trials[0].steps(spec)
        seeds = list(dict.fromkeys(trial.seed for trial in trials))
        models = {seed: first_model(self._task, seed) for seed in seeds}
        self._split = {seed: split_rows(self._task, seed) for seed in seeds}
        self._train_rows, self._valid_rows = (len(rows) for rows in self._split[seeds[0]])
        self._batches = -(-self._train_rows // self._task.batch_size)
        self._seeds = [trial.seed for trial in trials]
        self._seeds += self._seeds[-1:] * (WIDTH - len(trials))
        self._valid = torch.stack([self._split[seed][1] for seed in self._seeds])
        self._params = stacked.stack([models[trial.seed] for trial in trials])
        self._gradients = [torch.zeros_like(p) for p in self._params.values()]
        self._copies = [self._copy(i, trial, optimizers[trial.label]) for i, trial in enumerate(trials)]
        self._step = StackedStep([copy.optimizer for copy in self._copies])

    def _copy(self, place: int, trial: Trial, optimizer: OptimizerSpec) -> _Copy:
        params = [nn.Parameter(p[place]) for p in self._params.values()]
        for p, gradients in zip(params, self._gradients, strict=True):
            p.grad = gradients[place]
        torch.default_generator.manual_seed(trial.seed)  # as where it trains alone
        made = optimizer.at(trial.point).build(params)
        epochs = -(-self._spec.steps // self._batches)
        schedule = schedule_of_training(self._spec.schedule_of(trial.label), self._spec.steps)
        moved = None if schedule is None else Scheduled(schedule, made, self._stacked.model, epochs, self._batches)
        return _Copy(trial, made, moved)

    def run(self, ended: Ended) -> list[TrialResult]:
        began = time.perf_counter()
        self._measure(0)
        step = epoch = 0
        while step < self._last and any(copy.alive for copy in self._copies):
            rows = self._epoch_rows(epoch)
            for batch in rows.split(self._task.batch_size, dim=1):
                self._train(batch)
                step += 1
                self._leave_out(ended)
                if is_measured(self._spec, step, self._last):
                    self._measure(step)
                for copy in self._copies:
                    if copy.schedule is not None and copy.alive:
                        copy.schedule.after_step()
                if step == self._last or not any(copy.alive for copy in self._copies):
                    break
            for copy in self._copies:
                if copy.schedule is not None and copy.alive:
                    copy.schedule.after_epoch()
            epoch += 1
        self._step.flush()
        seconds = (time.perf_counter() - began) / max(1, step) / len(self._copies)
        return [self._result(place, copy, seconds) for place, copy in enumerate(self._copies)]

    def _epoch_rows(self, epoch: int) -> Tensor:
        """The rows of every copy in the order of this epoch, shape (WIDTH, rows)."""
        orders = {seed: rows[epoch_order(len(rows), seed, epoch)] for seed, (rows, _) in self._split.items()}
        return torch.stack([orders[seed] for seed in self._seeds])

    def _train(self, rows: Tensor) -> None:
        """One batch of every copy; a copy whose loss is not finite makes no more steps."""
        moved = [copy.schedule for copy in self._copies if copy.schedule is not None and copy.alive]
        for schedule in moved:
            schedule.before_batch()
        if moved:
            self._step.refresh()
        losses, gradients = self._stacked.step(self._params, *self._stacked.rows(rows))
        finite = losses.isfinite()
        if not finite.all():
            for place, is_finite in enumerate(finite.tolist()[: len(self._copies)]):
                if not is_finite:
                    self._stop(place)
        for kept, new in zip(self._gradients, gradients, strict=True):
            kept.copy_(new)
        self._step()

    def _leave_out(self, ended: Ended) -> None:
        for place, copy in enumerate(self._copies):
            if ended(copy.trial):
                self._stop(place)

    def _stop(self, place: int) -> None:
        """A copy makes no more steps."""
        if self._copies[place].alive:
            self._copies[place].alive = False
            self._step.stop(place)

    def _measure(self, step: int) -> None:
        """The validation loss of every copy that still trains."""
        total = torch.zeros(WIDTH, dtype=torch.float64)
        for rows in self._valid.split(EVALUATED, dim=1):
            total += self._stacked.losses(self._params, *self._stacked.rows(rows)).double() * rows.shape[1]
        for copy, loss in zip(self._copies, (total / self._valid_rows).tolist(), strict=False):
            if copy.alive:
                copy.steps.append(step)
                copy.losses.append(loss)

    def _result(self, place: int, copy: _Copy, seconds: float) -> TrialResult:
        finite = copy.finite
        return TrialResult(
            score=copy.losses[-1] if finite else math.inf,
            steps=tuple(copy.steps),
            losses=tuple(copy.losses),
            diverged=not finite,
            metrics=self._tested(place) if finite and copy.trial.kind == "final" else {},
            watch=update_ratios(copy.optimizer, self._stacked.model),
            seconds=seconds,
        )

    def _tested(self, place: int) -> dict[str, float]:
        """What one copy's model gives on the test data."""
        torch.default_generator.manual_seed(self._copies[place].trial.seed)
        forward = ForwardPass(self._stacked.load(self._params, place))
        measures = {"test_loss": self._task.loss, **self._task.metrics}
        return evaluation.evaluate(forward, measures, self._task.in_order(self._task.test))
