"""One training of a study: a pure function of the spec, a point and a seed. It can run anywhere, in any order, twice."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ravine import _randomness as randomness
from ravine._one_thread import one_thread
from ravine.comparison._study.halving import PARTS
from ravine.comparison._study.schedules import schedule_of_training
from ravine.comparison._study.study_spec import StudySpec
from ravine.errors import DataError
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task
from ravine.tasks._starts import starts
from ravine.tasks._task_data import TaskData, row_number, take
from ravine.train import Callback, Fit, ReduceOnPlateau, StopOnNaN
from ravine.train._broadcasting import OPENING

_VALIDATION_SHARE = 0.2  # of the rows of the training data
Kind = Literal["short", "tune", "final"]


@dataclass(frozen=True, repr=False)
class Trial:
    """A training: which optimizer, at which point, with which seed.

    A ``tune`` is a point of a tuning; ``short`` is the first quarter of it. Only ``final`` reads the test data.
    """

    label: str
    point: Mapping[str, float]
    seed: int
    kind: Kind

    def __repr__(self) -> str:
        point = ", ".join(f"{name}={value:.4g}" for name, value in self.point.items())
        return f"Trial({self.label!r}, {self.kind}, seed {self.seed}{', ' * bool(point)}{point})"

    def steps(self, spec: StudySpec) -> int:
        """After how many steps it ends. Its schedule is that of all steps, so it is where the whole training has been."""
        return -(-spec.steps // PARTS) if self.kind == "short" else spec.steps

    def key(self, spec: StudySpec) -> str:
        """The name of this trial: the same for the same spec, point and seed."""
        config = spec.config(self.label)
        own = [config.schedule] if config.schedule else []  # else all keys of before would be others
        point = tuple(sorted(self.point.items()))
        return _key(spec.training_hash, self.label, config.source, point, self.seed, self.kind, *own)


@lru_cache(100_000)  # whoever asks how far a study is asks for all of them
def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


@dataclass(frozen=True, repr=False)
class TrialResult:
    """What a trial gave.

    Attributes:
        score: the validation loss at its end; infinite if it diverged.
        steps, losses: the validation losses on the way, the first of them before the first step.
        diverged: whether a loss was not finite.
        metrics: on the test data, by name, and ``test_loss``; empty while tuning.
        watch: the median over the run of the norm of the update over that of the parameter, by parameter.
        seconds: of one step, all of it; of trials that ran together, an equal share.
        error: the traceback, if the task raised.
    """

    score: float = math.inf
    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    diverged: bool = True
    metrics: Mapping[str, float] = field(default_factory=dict)
    watch: Mapping[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    error: str = ""

    def __repr__(self) -> str:
        state = "failed" if self.error else "diverged" if self.diverged else f"score {self.score:.4g}"
        metrics = "".join(f", {name} {value:.4g}" for name, value in self.metrics.items())
        return f"TrialResult({state}, {len(self.steps)} evaluations{metrics})"

    def to_tree(self) -> dict[str, Any]:
        """For JSON, which has no number for what is not finite."""
        return {
            "score": _finite(self.score),
            "steps": list(self.steps),
            "losses": [_finite(v) for v in self.losses],
            "diverged": self.diverged,
            "metrics": {k: _finite(v) for k, v in self.metrics.items()},
            "watch": {k: _finite(v) for k, v in self.watch.items()},
            "seconds": _finite(self.seconds),
            "error": self.error,
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> TrialResult:
        """The result of :meth:`to_tree`.

        Raises:
            DataError: it is none.
        """

        def number(value: float | None) -> float:
            return math.nan if value is None else float(value)

        try:
            return cls(
                score=math.inf if tree["score"] is None else float(tree["score"]),
                steps=tuple(tree["steps"]),
                losses=tuple(number(v) for v in tree["losses"]),
                diverged=bool(tree["diverged"]),
                metrics={k: number(v) for k, v in tree["metrics"].items()},
                watch={k: number(v) for k, v in tree["watch"].items()},
                seconds=number(tree["seconds"]),
                error=str(tree["error"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"The result of a trial is damaged: {type(error).__name__}: {error}") from error


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def validation_split(task: Task, seed: int) -> tuple[Task, TaskData]:
    """The task without a fifth of its training rows, and those rows. A test function has no rows to hold out, and a task
    with ``valid`` has others.

    Which rows is decided by the seed: how good an optimizer seems depends on the choice of the data as much as on the
    first weights, so the noise between seeds has to cover it (Bouthillier et al., 2021,
    https://arxiv.org/abs/2103.03098).
    """
    if task.surface is not None:
        return task, task.train
    if task.valid is not None:
        return task, task.valid
    train, valid = (take(task.train, rows) for rows in split_rows(task, seed))
    return replace(task, train=train), valid


def split_rows(task: Task, seed: int) -> tuple[Tensor, Tensor]:
    """The rows of the training data to train on, and those to validate on: int64, in the order they are used."""
    if task.surface is not None:
        every = torch.arange(row_number(task.train))
        return every, every
    order = torch.randperm(row_number(task.train), generator=torch.Generator().manual_seed(seed))
    held_out = max(1, round(len(order) * _VALIDATION_SHARE))
    return order[held_out:], order[:held_out]


Ended = Callable[[Trial], bool]
"""Whether somebody has ended a trial that runs."""


def never(trial: Trial) -> bool:
    """Nobody ends it."""
    return False


def run(spec: StudySpec, task: Task, trial: Trial, optimizer: OptimizerSpec, ended: Ended = never) -> TrialResult:
    """Train. ``task`` and ``optimizer`` are the spec's, made once for many trials. A trial that is ``ended`` meanwhile gives
    what it had until then.

    Whatever a task or an optimizer raises is raised here, and is the trial's failure.
    """
    training, valid = validation_split(task, trial.seed)
    curve = _Curve(training.in_order(valid), spec, trial, ended)
    learn = training.learner(
        optimizer.at(trial.point).build,
        seed=trial.seed,
        model=first_model(task, trial.seed),
        callbacks=[StopOnNaN(), curve],
        quiet=True,
    )
    schedule = schedule_of_training(spec.schedule_of(trial.label), spec.steps)
    learn.valid = training.in_order(valid) if isinstance(schedule, ReduceOnPlateau) else None
    epochs = -(-spec.steps // training.steps_per_epoch)
    with one_thread(), randomness.isolated(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", OPENING)  # the report says it once
        randomness.seed(trial.seed)  # dropout and augmentation: the same for all optimizers
        learn.fit(epochs, schedule=schedule)
        losses = learn.recorder.losses
        finite = bool(len(losses)) and math.isfinite(losses[-1]) and all(map(math.isfinite, curve.losses))
        finite = finite and bool(curve.losses)
        metrics: dict[str, float] = {}
        if trial.kind == "final" and finite:
            metrics = learn.validate(training.in_order(task.test))
            metrics["test_loss"] = metrics.pop("valid_loss")
    seconds = sum(float(part.sum()) for part in learn.recorder.seconds.values()) / max(1, len(losses))
    return TrialResult(
        score=curve.losses[-1] if finite else math.inf,
        steps=tuple(curve.steps),
        losses=tuple(curve.losses),
        diverged=not finite,
        metrics=metrics,
        watch=update_ratios(learn.optimizer, learn.model),
        seconds=seconds,
    )


def first_model(task: Task, seed: int) -> nn.Module:
    """The weights that a seed begins with; for a test function a place in its window."""
    model = task.start(seed)
    if task.surface is not None:
        place = torch.tensor(starts(task.surface, 2, seed)[1])
        with torch.no_grad():
            model.get_parameter("point").copy_(place)
    return model


def update_ratios(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, float]:
    """The median over the run of update over parameter, by parameter; of optimizers that are watched."""
    watch = getattr(optimizer, "watch", None)
    history = watch.history if watch is not None and watch.on else None
    if history is None or not len(history):
        return {}
    ratio = torch.from_numpy(history.ratio).nan_to_num(0.0, 0.0, 0.0)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    fitting = len(names) == len(history.names)  # a user's optimizer may leave some alone
    return dict(zip(names if fitting else history.names, ratio.median(0).values.tolist(), strict=True))


def is_measured(spec: StudySpec, step: int, last: int) -> bool:
    """Whether the validation loss is measured after so many steps of a training with so many in all."""
    return step % -(-spec.steps // spec.evaluations) == 0 or step == last


class _Curve(Callback):
    """Measures the validation loss before the first step and now and then, and ends the fit after the trial's steps."""

    def __init__(self, valid: Any, spec: StudySpec, trial: Trial, ended: Ended) -> None:
        self.valid, self.spec, self.trial, self.ended = valid, spec, trial, ended
        self.last = trial.steps(spec)
        self.steps: list[int] = []
        self.losses: list[float] = []

    def before_fit(self, fit: Fit) -> None:
        self._measure(fit, 0)

    def _measure(self, fit: Fit, step: int) -> None:
        self.steps.append(step)
        self.losses.append(fit.evaluate(self.valid)["valid_loss"])

    def after_step(self, fit: Fit) -> None:
        step = fit.state.step
        if is_measured(self.spec, step, self.last):
            self._measure(fit, step)
        if step == self.last:
            fit.stop("all steps are done")
        elif self.ended(self.trial):
            fit.stop("it was ended from outside")
