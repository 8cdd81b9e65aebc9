"""Trains one task with one contender, by a Learner, and measures it. All training of a comparison happens here.

What makes it fair: every contender begins at a copy of the same weights and sees the same batches in
the same order, and what happens only once (compiling a kernel, a thread pool's start) is done before
the clock runs.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ravine.compare.contenders import FAILURES, Contender, one_line
from ravine.errors import OptionError
from ravine.tasks import Task
from ravine.train import Callback, Learner, StopOnNaN


@dataclass(frozen=True)
class Result:
    """One contender's training.

    ``losses`` has the loss of every step's batch before the step, ``path`` the points a test function
    was at before each step and at the end. ``train_loss``, ``test_loss`` and ``metrics`` are those of
    the final weights on all rows. ``seconds_per_epoch`` is the whole of training (batches, forward,
    backward, step), ``step_share`` the share of it in the optimizer's step. ``diverged_at`` is the
    number of the first step, from 1, whose loss was not a finite number; training ends there.
    """

    contender: Contender
    options: Mapping[str, Any]
    losses: list[float]
    path: list[tuple[float, float]] | None
    train_loss: float
    test_loss: float
    metrics: Mapping[str, float]
    seconds_per_epoch: float
    step_share: float
    diverged_at: int | None

    @property
    def diverged(self) -> bool:
        """Whether a training loss or the final one is not a finite number."""
        return self.diverged_at is not None or not math.isfinite(self.train_loss + self.test_loss)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch, and with it our kernels, use one thread, and then as many as before.

    The models here are so small that several threads gain little, and lose much where other programs
    want the processor too; then one optimizer's seconds are other programs' doing. One thread also adds
    up in the same order on every machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def warm_up(task: Task, contender: Contender, start: nn.Module) -> None:
    """One step on a copy that is thrown away: compiles what is compiled once, and finds a wrong option.

    Raises:
        OptionError: the optimizer cannot be made, or cannot take a plain step.
    """
    model = copy.deepcopy(start)
    optimizer = contender.build(model.parameters())
    inputs, targets = next(iter(task.batches()[0]))
    task.loss(model(inputs), targets).backward()
    try:
        optimizer.step()
    except FAILURES as error:
        raise OptionError(f"{contender.label}: its step fails: {one_line(error)}") from error


def train(
    task: Task,
    contender: Contender,
    start: nn.Module,
    *,
    epochs: int,
    seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> Result:
    """Train a copy of ``start`` for ``epochs`` and measure it; ``on_epoch`` is called after each."""
    model = copy.deepcopy(start)
    watch = _Watch(on_epoch, _Path(model) if task.surface else None)
    learn = task.learner(contender.build, seed=seed, model=model, callbacks=[StopOnNaN(), watch], quiet=True)
    learn.valid = None  # measured once, at the end
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what a model draws while it trains (dropout) is the same for all, too
        learn.fit(epochs)
    losses = learn.recorder.losses.tolist()
    seconds = {part: float(values.sum()) for part, values in learn.recorder.seconds.items()}
    training = sum(seconds.values())
    train_loss = learn.validate(task.in_order(task.train)).pop("valid_loss")
    metrics = learn.validate(task.in_order(task.test))
    return Result(
        contender=contender,
        options=dict(learn.optimizer.defaults),
        losses=losses,
        path=None if watch.path is None else [*watch.path.points, watch.path.now()],
        train_loss=train_loss,
        test_loss=metrics.pop("valid_loss"),
        metrics=metrics,
        seconds_per_epoch=training / len(losses) * task.steps_per_epoch,
        step_share=seconds["step"] / training,
        diverged_at=None if math.isfinite(losses[-1]) else len(losses),
    )


class _Path:
    """Where a test function's point was before each step."""

    def __init__(self, model: nn.Module) -> None:
        self.parameter, self.points = model.get_parameter("point"), list[tuple[float, float]]()

    def now(self) -> tuple[float, float]:
        x, y = self.parameter.tolist()
        return x, y


class _Watch(Callback):
    """Tells that an epoch is done, and follows a path if there is one."""

    def __init__(self, on_epoch: Callable[[], None], path: _Path | None) -> None:
        self.on_epoch, self.path = on_epoch, path

    def before_batch(self, learn: Learner) -> None:
        if self.path is not None:
            self.path.points.append(self.path.now())

    def after_epoch(self, learn: Learner) -> None:
        self.on_epoch()
