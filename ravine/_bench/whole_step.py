"""The optimizer's share of a training step of a task, on this machine, and what another optimizer's step changes in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ravine._bench.candidates import TORCH
from ravine._bench.measure import alternate
from ravine.optim._common import parameters_of
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task
from ravine.train import Callback, Fit, Learner

#: Batches of a turn: enough that neither the first batch of an epoch nor the start of a fit weighs.
_BATCHES, _ROUNDS = 20, 15
OURS = "ravine"


@dataclass(frozen=True)
class WholeStep:
    """What a training step of a task takes, in the Learner's loop.

    Attributes:
        task, optimizer: their names.
        tensors, parameters: how many tensors the model has, and how many numbers.
        threads: that torch used.
        seconds: by who steps (``ravine``, and torch's ``default``, ``foreach`` and ``fused``), the median seconds of data,
            ``forward``, ``backward`` and ``step``.
    """

    task: str
    optimizer: str
    tensors: int
    parameters: int
    threads: int
    seconds: dict[str, dict[str, float]]

    def whole(self, who: str) -> float:
        """Seconds of a batch, all parts together."""
        return sum(self.seconds[who].values())

    def share(self, who: str) -> float:
        """The part of a batch that is spent in the optimizer's step."""
        return self.seconds[who]["step"] / self.whole(who)

    def gain(self, other: str) -> float:
        """How many times as fast the whole training is with ours as with another's step."""
        return self.whole(other) / self.whole(OURS)

    @property
    def sentence(self) -> str:
        """The answer."""
        took = f"The optimizer takes {self.share(OURS):.0%} of a training step of {self.task} with {self.optimizer}"
        others = [who for who in self.seconds if who != OURS]
        if not others:
            return f"{took}; torch has no such optimizer."
        gains = [
            f"{self.gain(who):.2f} times as fast as with torch's {who} step ({self.share(who):.0%})" for who in others
        ]
        return f"{took}. The training is {'; '.join(gains)}."


class _Stop(Callback):
    """Ends a fit after so many batches."""

    def before_fit(self, fit: Fit) -> None:
        self.left = _BATCHES

    def after_batch(self, fit: Fit) -> None:
        self.left -= 1
        if not self.left:
            fit.stop("timed")


def time_whole_steps(task: Task, optimizer: OptimizerSpec, *, rounds: int | None = None) -> WholeStep:
    """Time batches of the Learner's loop with our step and with torch's ways of the same, in turns."""
    ways: dict[str, Callable[..., torch.optim.Optimizer]] = {OURS: optimizer.build}
    first = _learner(task, optimizer.build)
    ways |= _torch_ways(first.optimizer)
    learners = {who: _learner(task, build) for who, build in ways.items()}
    for learn in learners.values():  # kernels are compiled, states made, memory touched
        learn.fit(1)
        learn.recorder = type(learn.recorder)()
    alternate({who: partial(learn.fit, 1) for who, learn in learners.items()}, rounds or _ROUNDS)
    params = [p for p in first.model.parameters() if p.requires_grad]
    return WholeStep(
        task.name,
        optimizer.label,
        len(params),
        sum(p.numel() for p in params),
        torch.get_num_threads(),
        {
            who: {part: float(np.median(s)) for part, s in learn.recorder.seconds.items()}
            for who, learn in learners.items()
        },
    )


def _learner(task: Task, opt_func: Callable[..., torch.optim.Optimizer]) -> Learner:
    learn = task.learner(opt_func, quiet=True, callbacks=[_Stop()])
    learn.valid = None
    return learn


def _torch_ways(ours: torch.optim.Optimizer) -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """torch's class of the same name with the options that were changed, in each of its ways; none if it lacks one."""
    cls = getattr(torch.optim, type(ours).__name__, None)
    if cls is None:
        return {}
    known = inspect.signature(cls).parameters
    usual = {name: p.default for name, p in parameters_of(type(ours)).items()}
    changed = {name: value for name, value in ours.defaults.items() if name != "fused" and value != usual.get(name)}
    if not all(name in known for name in changed):
        return {}
    return {
        way: partial(cls, **(changed | options))
        for way, options in TORCH.items()
        if all(option in known for option in options)
    }
