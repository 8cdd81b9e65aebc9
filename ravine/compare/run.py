"""Trains one task with one contender and measures it. All training of a comparison happens here.

What makes it fair: every contender begins at a copy of the same weights and sees the same batches in
the same order, and what happens only once (compiling a kernel, a thread pool's start) is done before
the clock runs.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ravine.compare.contenders import FAILURES, Contender, one_line
from ravine.errors import OptionError
from ravine.tasks import Data, Task

_EVALUATION_ROWS = 4096  # enough to keep the processor busy, little enough for any memory


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


def start_of(task: Task, seed: int) -> nn.Module:
    """The model that every contender starts from, made without touching torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return task.model()


def warm_up(task: Task, contender: Contender, start: nn.Module) -> None:
    """One step on a copy that is thrown away: compiles what is compiled once, and finds a wrong option.

    Raises:
        OptionError: the optimizer cannot be made, or cannot take a plain step.
    """
    model = copy.deepcopy(start)
    optimizer = contender.build(model.parameters())
    inputs, targets = next(task.train.batches(task.batch_size))
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
    optimizer = contender.build(model.parameters())
    order = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    path: list[tuple[float, float]] | None = [] if task.surface else None
    training = stepping = 0.0
    diverged_at = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what a model draws while it trains (dropout) is the same for all, too
        for _ in range(epochs):
            began = time.perf_counter()
            for inputs, targets in task.train.batches(task.batch_size, order):
                if path is not None:
                    path.append(_position(model))
                optimizer.zero_grad()
                loss = task.loss(model(inputs), targets)
                losses.append(loss.item())
                if not math.isfinite(losses[-1]):
                    diverged_at = len(losses)
                    break
                loss.backward()
                before = time.perf_counter()
                optimizer.step()
                stepping += time.perf_counter() - before
            training += time.perf_counter() - began
            on_epoch()
            if diverged_at is not None:
                break
    if path is not None:
        path.append(_position(model))
    train_loss, _ = evaluate(task, model, task.train)
    test_loss, metrics = evaluate(task, model, task.test)
    return Result(
        contender=contender,
        options=dict(optimizer.defaults),
        losses=losses,
        path=path,
        train_loss=train_loss,
        test_loss=test_loss,
        metrics=metrics,
        seconds_per_epoch=training / len(losses) * task.steps_per_epoch,
        step_share=stepping / training,
        diverged_at=diverged_at,
    )


def evaluate(task: Task, model: nn.Module, data: Data) -> tuple[float, dict[str, float]]:
    """The mean loss and metrics of a model over all rows of ``data``, without changing it."""
    measures = {"loss": task.loss, **task.metrics}
    sums = dict.fromkeys(measures, 0.0)
    training = model.training
    model.eval()
    with torch.no_grad():
        for inputs, targets in data.batches(_EVALUATION_ROWS):
            outputs: Tensor = model(inputs)
            for name, measure in measures.items():
                sums[name] += measure(outputs, targets).item() * len(inputs)
    model.train(training)
    means = {name: total / len(data) for name, total in sums.items()}
    return means.pop("loss"), means


def _position(model: nn.Module) -> tuple[float, float]:
    x, y = model.get_parameter("point").tolist()
    return x, y
