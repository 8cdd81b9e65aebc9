"""What a study will cost, said before anything is trained: trainings, hours, and the smallest difference it can show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ravine._one_thread import one_thread
from ravine.comparison._judge.critical_values import critical_values
from ravine.comparison._judge.number_text import count
from ravine.comparison._study.halving import PARTS, most_going_on
from ravine.comparison._study.local_workers import processors
from ravine.comparison._study.stacked_task import WIDTH, StackedTask, stacked_task
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_progress import trainings_of_seed, tuning_of_seed
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial, validation_split
from ravine.comparison._study.trial_block import run_block
from ravine.comparison._study.trial_runner import can_share
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task
from ravine.train import Callback, Fit

_STEPS, _COLD = 8, 3  # steps that are timed, and how many of them find cold caches
_KEEPING = 0.004  # seconds to claim a training and to keep what it gave
_SHORT = 600  # seconds of training, beside which the rest of a study counts: 13 s of CPU time on two cores
_GOOD_CHANCE = 0.84  # normal quantile: a chance of .8


@dataclass(frozen=True)
class TrainingSeconds:
    """What a training takes on one thread; of trainings that run together, its share.

    Attributes:
        begin: seconds to make model, data and optimizer.
        step: seconds of a step.
        evaluation: seconds of an evaluation on the validation data.
    """

    begin: float
    step: float
    evaluation: float

    def of(self, spec: StudySpec, share: float = 1.0) -> float:
        """Seconds of a training of the spec, or of one with that share of its steps."""
        evaluations = 1 + share * min(spec.steps, spec.evaluations)
        return _KEEPING + self.begin + share * spec.steps * self.step + evaluations * self.evaluation


@dataclass(frozen=True)
class Cost:
    """What a study costs, to its first look and to its end.

    Attributes:
        looks: the seeds at the first and at the last look.
        trainings: about how many trainings there are up to the first look, and to the end if no optimizer drops out.
        at_most: how many there can be, if search spaces have to be expanded, too.
        seconds: what ``trainings`` take with so many jobs; starting and reporting are not in it.
        jobs: how many trainings run at a time.
        smallest: the smallest difference that the study can show with a chance of .8, in standard deviations of the
            paired differences between seeds; None with one optimizer.
    """

    looks: tuple[int, int]
    trainings: tuple[int, int]
    at_most: int
    seconds: tuple[float, float]
    jobs: int
    smallest: float | None

    @property
    def lines(self) -> list[str]:
        """What it says."""
        first, last = self.looks
        jobs = f"with {count(self.jobs, 'job')}"
        jobs += f" on {count(processors(), 'processor')}" if self.jobs > processors() else ""
        more = f"; at most {count(self.at_most, 'training')}, if search spaces have to be expanded"
        more = more if self.at_most > self.trainings[1] else ""
        lines = []
        if first < last:
            lines.append(
                f"To the first look, at {count(first, 'seed')}: about {count(self.trainings[0], 'training')}, "
                f"{_hours(self.seconds[0])} of training {jobs}."
            )
        lines.append(
            f"To the end, at {count(last, 'seed')}: about {count(self.trainings[1], 'training')}, "
            f"{_hours(self.seconds[1])} of training {jobs}{more}."
        )
        if self.seconds[0] < _SHORT:
            lines.append(
                "Starting the processes, timing single steps and drawing the report add 10 to 30 seconds, however short "
                "the trainings are."
            )
        if first < last:
            lines.append("It ends sooner where all is settled, and an optimizer that is out is trained no more.")
        if self.smallest is not None:
            lines.append(
                f"The smallest difference it can show, with a chance of .8: {self.smallest:.2g} times the spread between "
                "seeds (the standard deviation of the differences between two optimizers)."
            )
        return lines


def cost_of(
    spec: StudySpec,
    task: Task,
    optimizers: Mapping[str, OptimizerSpec],
    jobs: int,
    *,
    time_training: Callable[[Task, OptimizerSpec], TrainingSeconds] | None = None,
) -> Cost:
    """What the study costs on this machine, from a few steps and one evaluation of each optimizer.

    Args:
        spec, task, optimizers: the study's, the optimizers by label.
        jobs: how many trainings run at a time.
        time_training: times a training with an optimizer.
    """
    measure = time_training or _Timer(task)
    tunings = {t.config.label: t for t in stage(spec, {}).tunings}
    first, last = spec.looks[0], spec.seeds
    at_a_time = min(jobs, processors())
    trainings, seconds = [0.0, 0.0], [0.0, 0.0]
    for label, tuning in tunings.items():
        of_seed, short = trainings_of_seed(spec, tuning), tuning_of_seed(spec, tuning)[0]
        middle = optimizers[label].for_task(task.name).at(spec.config(label).middle)
        one = measure(task, middle)
        seconds_of_seed = short * one.of(spec, 1 / PARTS) + (of_seed - short) * one.of(spec)
        for i, seeds in enumerate((first, last)):
            trainings[i] += seeds * of_seed
            seconds[i] += seeds * seconds_of_seed / at_a_time
    at_most = last * sum(_most_of_seed(spec, searched=bool(config.space)) for config in spec.optimizers)
    return Cost(
        (first, last),
        (round(trainings[0]), round(trainings[1])),
        at_most,
        (seconds[0], seconds[1]),
        jobs,
        smallest_difference(len(spec.optimizers), spec.looks),
    )


def smallest_difference(optimizers: int, looks: Sequence[int]) -> float | None:
    """The smallest difference of two of so many optimizers that the last look shows with a chance of .8, in standard
    deviations of their paired differences; None where nothing is compared."""
    if optimizers < 2 or looks[0] < 2:
        return None
    critical = float(critical_values(optimizers, tuple(looks))[optimizers, -1])
    return (critical + _GOOD_CHANCE) / math.sqrt(looks[-1])


class _Timer:
    """Times trainings of a task: together with others, if that is how they run."""

    def __init__(self, task: Task) -> None:
        self._stacked = stacked_task(task)

    def __call__(self, task: Task, optimizer: OptimizerSpec) -> TrainingSeconds:
        if self._stacked is None or not can_share(task, optimizer):
            return measured_seconds(task, optimizer)
        return measured_share(self._stacked, optimizer)


def measured_share(stacked: StackedTask, optimizer: OptimizerSpec) -> TrainingSeconds:
    """The seconds of a training with this optimizer among ``WIDTH`` that run together, on one thread.

    Whatever a task or an optimizer raises is raised here.
    """
    trials = [Trial(optimizer.label, {}, seed % 4, "tune") for seed in range(WIDTH)]
    config = OptimizerConfig(optimizer.label, {})
    short, longer, evaluated = (
        StudySpec(stacked.task.name, (config,), steps, evaluations=evaluations)
        for steps, evaluations in ((1, 1), (1 + _STEPS, 1), (1 + _STEPS, 1 + _STEPS))
    )
    seconds = []
    for spec in (short, short, longer, evaluated):  # the first finds cold caches
        began = time.perf_counter()
        run_block(spec, stacked, trials, {optimizer.label: optimizer})
        seconds.append((time.perf_counter() - began) / WIDTH)
    _, one, many, each = seconds
    step, evaluation = (max(0.0, later - before) / _STEPS for before, later in ((one, many), (many, each)))
    return TrainingSeconds(max(0.0, one - step - 2 * evaluation), step, evaluation)


def measured_seconds(task: Task, optimizer: OptimizerSpec) -> TrainingSeconds:
    """The seconds of a training with this optimizer that runs alone, on one thread.

    Whatever a task or an optimizer raises is raised here.
    """
    began = time.perf_counter()
    with one_thread(), torch.random.fork_rng(devices=[]):
        training, valid = validation_split(task, 0)
        timed = _Timed(training.in_order(valid))
        learn = training.learner(optimizer.build, seed=0, callbacks=[timed], quiet=True)
        learn.valid = None
        begin = time.perf_counter() - began
        learn.fit(-(-_STEPS // training.steps_per_epoch))
    steps = torch.tensor([list(part) for part in learn.recorder.seconds.values()], dtype=torch.float64).sum(0)
    return TrainingSeconds(begin, float(steps[_COLD:].median()), timed.evaluation)


class _Timed(Callback):
    """Ends the fit after a few steps, and times an evaluation."""

    def __init__(self, valid: Any) -> None:
        self.valid, self.evaluation = valid, math.nan

    def after_step(self, fit: Fit) -> None:
        if fit.state.step == _STEPS:
            began = time.perf_counter()
            fit.evaluate(self.valid)
            self.evaluation = time.perf_counter() - began
            fit.stop("timed")


def _most_of_seed(spec: StudySpec, *, searched: bool) -> int:
    """How many trainings a seed of an optimizer takes at most: every prefix of its points has another best."""
    if not searched:
        return 2
    extra = spec.expansions * spec.extra_points
    points, fresh = spec.points + extra, len(spec.budgets) + bool(extra)
    if not spec.halving or points < 2:
        return points + fresh
    ends = [spec.points + i * spec.extra_points for i in range(spec.expansions + 1)]
    return points + most_going_on(points, (*spec.budgets, *ends)) + fresh


def _hours(seconds: float) -> str:
    if seconds < 90:
        return count(round(seconds), "second") if seconds >= 1 else "less than a second"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
