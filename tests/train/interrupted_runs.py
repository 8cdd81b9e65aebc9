"""Trainings that are stopped somewhere and gone on with, for test_resume.py and test_interrupt.py; holds no tests.

Run as a program, it trains in a folder until a moment and is then killed by the system:
``python interrupted_runs.py SCENARIO FOLDER MOMENT``.
"""

import copy
import os
import random
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from ravine.optim import SGD, Adam, AdamW, AdamWScheduleFree, RMSprop
from ravine.train import (
    Batches,
    BestCheckpoint,
    Callback,
    EarlyStopping,
    Fit,
    GradientAccumulation,
    GradientClipping,
    HyperSchedule,
    Learner,
    MixedPrecision,
    ReduceOnPlateau,
    TorchScheduler,
    accuracy,
)
from ravine.train._schedules.one_cycle import OneCycle

ROWS, BATCH, EPOCHS = 44, 8, 3  # six batches, the last of 4


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


class Clock(Callback):
    """Counts the moments of a training, in hooks and while the model, loss or metric run, and strikes at one."""

    order = 1000  # after a checkpoint is written; what lies before it is seen from the model

    def __init__(self, strike: int | None = None, how: Callable[[], None] | None = None) -> None:
        self.now, self.strike, self.how = 0, strike, how

    def tick(self, *_: object) -> None:
        self.now += 1
        if self.now == self.strike:
            if self.how is not None:
                self.how()
            raise Killed

    before_fit = before_epoch = before_batch = after_loss = before_step = after_step = after_batch = after_epoch = tick

    def metric(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.tick()
        return torch.zeros(())


class Stopper(Callback):
    """Ends a fit in the middle of its second epoch."""

    def after_batch(self, fit: Fit) -> None:
        if fit.state.step == 9:
            fit.stop("that is enough")


class Rows(Dataset):
    """Rows that are different each time, by all three sources of randomness."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(6) + random.random() + float(np.random.rand())
        return rows()[0][i] + 0.1 * noise, rows()[1][i]


class Stream(IterableDataset):
    """Rows whose number is known to nobody before the end."""

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        yield from TensorDataset(*rows())


def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(ROWS, 6, generator=generator), torch.randint(0, 3, (ROWS,), generator=generator)


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def model() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(6, 12), torch.nn.BatchNorm1d(12), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(12, 3)
    )


def batches() -> Batches:
    return Batches(*rows(), BATCH)


def loader(data: Any = None, **options: Any) -> DataLoader[Any]:
    return DataLoader(data or TensorDataset(*rows()), BATCH, **options)


def own_generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def with_replacement() -> WeightedRandomSampler:
    return WeightedRandomSampler([1.0] * ROWS, ROWS, generator=own_generator())


def two_groups(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    first, *rest = parameters
    return torch.optim.SGD([{"params": [first], "lr": 0.3}, {"params": rest}], lr=0.1, momentum=0.9)


def halving(step: int) -> float:
    return 0.5**step


def in_sequence(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 4), lr_scheduler.ExponentialLR(optimizer, 0.8)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[4])


def chained(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(optimizer, 0.1, 4), lr_scheduler.ExponentialLR(optimizer, 0.8)]
    )


# name: training data, opt_func, schedule, callbacks
SCENARIOS: dict[str, tuple[Any, ...]] = {
    "Batches, RMSprop": (batches, RMSprop, lambda: "step:4,0.5", list),
    "global random order, Adam": (
        lambda: loader(shuffle=True),
        Adam,
        lambda: ReduceOnPlateau(0, 0.7, threshold=0.2),
        list,
    ),
    "generator of its own, torch SGD": (
        lambda: loader(shuffle=True, generator=own_generator()),
        partial(torch.optim.SGD, momentum=0.9),
        lambda: TorchScheduler(lr_scheduler.ExponentialLR, gamma=0.5, every="epoch"),
        list,
    ),
    "augmentation, AdamW": (lambda: loader(Rows(), shuffle=True), AdamW, lambda: OneCycle(0.02), list),
    "accumulation and clipping, torch Adam": (
        batches,
        torch.optim.Adam,
        lambda: "cosine",
        lambda: [GradientAccumulation(4), GradientClipping(0.5)],
    ),
    "bfloat16, best and early": (
        batches,
        partial(SGD, momentum=0.9),
        lambda: HyperSchedule(lr=lambda p: 0.1 * (1 - p), momentum=lambda p: 0.8 + 0.1 * p),
        lambda: [MixedPrecision(), BestCheckpoint(), EarlyStopping(1, min_delta=0.05)],
    ),
    "no length, accumulation": (
        lambda: loader(Stream()),
        partial(RMSprop, momentum=0.9),
        lambda: TorchScheduler(lr_scheduler.LambdaLR, lr_lambda=halving),
        lambda: [GradientAccumulation(4)],
    ),
    "replacement, two groups": (lambda: loader(sampler=with_replacement()), two_groups, lambda: "plateau:0,0.5", list),
    "a rate in a tensor": (
        lambda: loader(shuffle=True),
        lambda parameters: torch.optim.Adam(parameters, lr=torch.tensor(0.01)),
        lambda: "linear:0.1",
        list,
    ),
    "weights of two places, best": (batches, AdamWScheduleFree, lambda: None, lambda: [BestCheckpoint()]),
    "stopped by a callback, rows validated in any order": (batches, RMSprop, lambda: None, lambda: [Stopper()]),
}

SCHEDULES: dict[str, Callable[[], Any]] = {
    "multi-step": lambda: TorchScheduler(lr_scheduler.MultiStepLR, milestones=[3, 9]),
    "lambda": lambda: TorchScheduler(lr_scheduler.LambdaLR, halving),
    "one cycle of torch": lambda: TorchScheduler(lr_scheduler.OneCycleLR, max_lr=0.1, length="total_steps"),
    "cyclic": lambda: TorchScheduler(lr_scheduler.CyclicLR, 0.01, 0.1, step_size_up=4),
    "warm restarts": lambda: TorchScheduler(lr_scheduler.CosineAnnealingWarmRestarts, T_0=5),
    "polynomial": lambda: TorchScheduler(lr_scheduler.PolynomialLR, length="total_iters", every="epoch"),
    "in sequence": lambda: TorchScheduler(in_sequence),
    "chained": lambda: TorchScheduler(chained),
    "exponential": lambda: "exponential:0.5",
}
SCHEDULED: dict[str, tuple[Any, ...]] = {
    name: (batches, partial(torch.optim.SGD, momentum=0.9), schedule, list) for name, schedule in SCHEDULES.items()
}


def learner(
    name: str, clock: Clock | None = None, folder: str | Path | None = None, *, train: Any = None
) -> tuple[Learner, Callable[..., Any]]:
    """A new Learner and how it fits, both as a program that is started again would make them."""
    data, opt_func, schedule, callbacks = (SCENARIOS | SCHEDULED)[name]
    clock = clock or Clock()
    valid: Any = Batches(*rows(), 20, shuffle=False)
    if "validated in any order" in name:
        valid = loader(shuffle=True, generator=own_generator())
    learn = Learner(
        model(),
        (train or data(), valid),
        cross_entropy,
        opt_func,
        {"accuracy": accuracy, "ticks": clock.metric},
        callbacks=[*callbacks(), clock],
        folder=folder,
        quiet=True,
    )
    learn.model.register_forward_hook(clock.tick)
    rate = None if isinstance(schedule(), HyperSchedule) else 0.02  # those set it themselves
    return learn, partial(learn.fit, EPOCHS, rate, schedule())


def whole(name: str, **options: Any) -> tuple[dict[str, Any], int]:
    """The run that is never stopped and keeps nothing; and how many moments it has."""
    seed(0)
    clock = Clock()
    learn, fit = learner(name, clock, **options)
    fit()
    return everything(learn), clock.now


def stopped(
    name: str,
    folder: str | Path,
    moment: int | None,
    every: int,
    how: Callable[[], None] | None = None,
    **options: Any,
) -> tuple[bool, Learner]:
    """Begin or go on with a run until a moment, or its end; whether it got there, and the Learner."""
    # a program that begins sets its seeds; one that goes on must not need them
    seed(0 if not (Path(folder) / "checkpoint.safetensors").exists() else 1234 + (moment or 0))
    learn, fit = learner(name, Clock(moment, how), folder, **options)
    try:
        fit(checkpoint_every=every, resume=True)
    except Killed:
        return False, learn
    return True, learn


def everything(learn: Learner) -> dict[str, Any]:
    """All that training has changed or measured, except times."""
    recorder = learn.recorder
    state = {
        "model": dict(learn.model.state_dict()),
        "training": [m.training for m in learn.model.modules()],
        "optimizer": learn.optimizer.state_dict(),
        "callbacks": [
            (type(c).__name__, c.state_dict()) for c in learn.loop.callbacks if not c.passive and c.order < 100
        ]
        if learn.loop
        else None,
        "losses": recorder.losses,
        "smoothed": recorder.smoothed,
        "hypers": {name: recorder.hyper(name) for name in recorder.hyper_names},
        "epochs": [{k: v for k, v in row.items() if k != "time"} for row in recorder.epochs],
        "notes": recorder.notes,
        "seconds": [len(s) for s in recorder.seconds.values()],
        "counts": (learn.state.epoch, learn.state.batch, learn.state.step, learn.order.epochs),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "python": random.getstate(),
        "generators": [
            g.get_state()
            for g in (
                getattr(learn.train, "generator", None),
                getattr(getattr(learn.train, "sampler", 0), "generator", None),
            )
            if g is not None
        ],
    }
    return copy.deepcopy(state)  # of now, whatever is trained later


def differences(a: Any, b: Any, place: str = "") -> list[str]:
    """Where two trees differ in a bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        if set(a) != set(b):  # a group that is loaded has its keys in another order
            return [f"{place}: {list(a)} and {list(b)}"]
        return [d for key in a for d in differences(a[key], b[key], f"{place}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return [f"{place}: {len(a)} and {len(b)} items"]
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{place}[{i}]")]
    if isinstance(a, torch.Tensor | np.ndarray):
        x, y = np.asarray(a), np.asarray(b)
        alike = x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        return [] if alike else [f"{place}: {a} and {b}"]
    if callable(a) and callable(b):  # a scheduler's function: not kept, given again
        return []
    return [] if a == b or (a != a and b != b) else [f"{place}: {a!r} and {b!r}"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    scenario, where, when = sys.argv[1:]
    stopped(scenario, where, int(when), 2, partial(os.kill, os.getpid(), signal.SIGKILL))
