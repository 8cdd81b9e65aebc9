"""What ``ravine train`` says before it trains: task, model, optimizer with its numbers, length, device; and config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import ravine
from ravine.comparison._judge.number_text import count
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task
from ravine.tasks._task_data import row_number
from ravine.train import _parallel as parallel
from ravine.train._learner import Learner

CONSTANT, ONE_CYCLE = "constant", "one-cycle"
INDENT = len("Optimizer  ")  # of what stands behind the names


@dataclass(frozen=True)
class Setup:
    """What a training is made of.

    Attributes:
        task, learn, optimizer: what is trained; validated on the ``held_out`` rows of the task.
        epochs: until this one.
        schedule: how the rate changes, by text.
        seed: of weights and order.
        folder: where it is written.
        resumes: whether the run is in the folder already.
    """

    task: Task
    learn: Learner
    optimizer: OptimizerSpec
    held_out: Any
    epochs: int
    schedule: str
    seed: int
    folder: Path
    resumes: bool

    @property
    def lr(self) -> float | None:
        """The learning rate; None if the optimizer has none."""
        lr = self.learn.optimizer.param_groups[0].get("lr")
        return None if lr is None else float(lr)

    def text(self) -> str:
        """A line for each."""
        names = ("Task", "Model", "Optimizer", "Training", "Device", "Resumes" if self.resumes else "Folder")
        lines = (self._task(), self._model(), self._optimizer(), self._training(), self._device(), str(self.folder))
        return "\n".join(f"{name:<{INDENT}}{line}" for name, line in zip(names, lines, strict=True))

    def config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values that are used, for config.json: what was given, and what stands for what was not."""
        model = self.learn.model
        used = {
            **given,
            "epochs": self.epochs,
            "lr": self.lr,
            "schedule": self.schedule,
            "checkpoint_every": given["checkpoint_every"] or "epoch",
            "threads": torch.get_num_threads(),
            "batch_size": self.task.batch_size,
            "steps_per_epoch": self._steps(),
            "model": type(model).__name__,
            "parameters": _parameters(model),
            "hyperparameters": _numbers(self.learn.optimizer),
            "device": self._where(),
            "ravine": ravine.__version__,
            "torch": torch.__version__,
            "processes": parallel.size(),
        }
        return {name: value for name, value in used.items() if value is not None}

    def _task(self) -> str:
        if self.task.surface is not None:
            return f"{self.task.name}, a function of two variables"
        trained, tested = row_number(self.task.train), row_number(self.task.test)
        if self.task.valid is not None:
            return f"{self.task.name}: {trained:,} rows, {row_number(self.held_out):,} to validate on, {tested:,} to test on"
        held = row_number(self.held_out)
        return f"{self.task.name}: {trained - held:,} rows to train on, {held:,} held out, {tested:,} to test on"

    def _model(self) -> str:
        return f"{type(self.learn.model).__name__}, {count(_parameters(self.learn.model), 'parameter')}"

    def _optimizer(self) -> str:
        numbers = _numbers(self.learn.optimizer)
        shown = ", ".join(f"{name} {_shown(value)}" for name, value in numbers.items() if value not in (0, False, None))
        averaged = "; measured are the weights, not their average" * bool(numbers.get("ema_decay"))
        return (f"{self.optimizer.label}: {shown}" if shown else self.optimizer.label) + averaged

    def _training(self) -> str:
        steps = self._steps()
        length = count(self.epochs, "epoch") + (f" of {count(steps, 'step')}" if steps else "")
        rate = "" if self.schedule == CONSTANT else f", rate {self.schedule}"
        return f"{length}, batch {self.task.batch_size}{rate}, seed {self.seed}"

    def _device(self) -> str:
        processes = f", {parallel.size()} processes" if parallel.size() > 1 else ""
        where = self._where()
        return f"{where}{', ' + count(torch.get_num_threads(), 'thread') if where == 'cpu' else ''}{processes}"

    def _where(self) -> str:
        return str(next(self.learn.model.parameters()).device)

    def _steps(self) -> int | None:
        try:
            return len(self.learn.train)  # type: ignore[arg-type]
        except TypeError:  # a stream
            return None


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if not isinstance(p, nn.UninitializedParameter))


def _numbers(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The first group's hyperparameters, as Python has them; what only says how a step is computed is left out."""
    group = optimizer.param_groups[0]
    plain = {
        name: getattr(group[name], "tolist", lambda v=group[name]: v)() for name in optimizer.defaults if name in group
    }
    return {
        name: value
        for name, value in plain.items()
        if isinstance(value, int | float | str | tuple | list)
        and name not in ("fused", "foreach", "capturable", "differentiable", "maximize")
    }


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
