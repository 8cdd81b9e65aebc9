"""``learn.lr_find()``: sweeps the learning rate on copies of what is trained. lr_rules.py interprets the losses."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ravine._whole_numbers import whole
from ravine.errors import DataError, OptionError, TrainingError
from ravine.train import _parallel as parallel
from ravine.train import _stepping as stepping
from ravine.train._batches import Batches
from ravine.train._callback import Callback, forward_contexts
from ravine.train._data_content import nonfinite_in_batch
from ravine.train._data_order import DataOrder, random_states, restore
from ravine.train._display import Display, bar
from ravine.train._fit import Fit
from ravine.train._forward import ForwardPass
from ravine.train._loop import Loop
from ravine.train._lr_find.lr_find_result import LRFind
from ravine.train._lr_find.sweep import rates as rates_between
from ravine.train._lr_find.sweep import sweep
from ravine.train._metrics import Measure
from ravine.train._rates import set_rate
from ravine.train._recorder import Recorder
from ravine.train._schedules.hyper_schedule import HyperSchedule

_SHAPING = ("before_batch", "after_loss", "before_step", "forward_context", "stepper")
"""A callback that has one of these changes what a step does, so it takes part in a sweep."""


def find(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_func: Measure,
    train: Iterable[Any],
    callbacks: Sequence[Callback],
    *,
    start: float,
    end: float,
    steps: int,
    orders: int,
    quiet: bool,
) -> LRFind:
    """Sweep once for each order of the data, and leave everything as it was. See :meth:`Learner.lr_find`."""
    number = whole(orders)
    if number is None or number < 1:
        raise OptionError(f"orders {orders!r}: sweep over a whole number of orders of the data, at least 1.")
    orders = number
    if stepping.needs_closure(optimizer):
        raise OptionError(
            f"lr_find takes one step at each rate, but {type(optimizer).__name__} evaluates a batch many times "
            "in a step and searches for its length itself."
        )
    rates = rates_between(start, end, steps)
    losses: list[Any] = []
    notes: dict[str, None] = {}  # of all sweeps, each once
    before = random_states(train)
    try:
        with bar(f"trying {len(rates)} learning rates", orders * len(rates), quiet=quiet) as advance:
            for order in range(orders):
                loop = _copy(model, optimizer, loss_func, _in_order(train, order), callbacks)
                losses.append(sweep(_stepper(loop, advance), rates))
                notes |= dict.fromkeys(text for _, text in loop.fit.recorder.notes)
    finally:
        restore(before, train)
    return LRFind(rates, np.stack(losses), notes=tuple(notes))


def _in_order(train: Iterable[Any], order: int) -> Iterable[Any]:
    return train.reseeded(train.seed + order) if isinstance(train, Batches) else train


def _copy(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_func: Measure,
    train: Iterable[Any],
    callbacks: Sequence[Callback],
) -> Loop:
    """A loop over copies that share nothing but the data."""
    shaping = [c for c in callbacks if any(getattr(type(c), n) is not getattr(Callback, n) for n in _SHAPING)]
    shaping = [c for c in shaping if not (isinstance(c, HyperSchedule) or c.passive)]  # the rate is the sweep's
    try:
        # together, so that the copied optimizer has the copied model's parameters, whichever of them opt_func chose
        model, optimizer, loss_func, shaping = copy.deepcopy((model, optimizer, loss_func, shaping))
    except Exception as error:  # whatever a module's own __deepcopy__ raises
        raise TrainingError(
            f"lr_find trains a copy of model, optimizer, loss and callbacks, but one cannot be copied: {error}"
        ) from error
    forward = ForwardPass(model, forward_contexts(shaping), parallel.data_parallel(model))
    fit = Fit(forward, loss_func, {}, train, None, optimizer, Recorder(), Display(), epochs=1)
    return Loop(fit, shaping, DataOrder())


def _stepper(loop: Loop, advance: Callable[[], Any]) -> Callable[[float], float]:
    """A function that trains on the next batch at a rate and gives the loss before the step."""
    batches = loop.by_batch()

    def step(rate: float) -> float:
        set_rate(loop.fit.optimizer, rate)
        next(batches)
        advance()
        loss = float(loop.fit.loss)
        if not math.isfinite(loss) and (
            in_data := nonfinite_in_batch(loop.fit.inputs, loop.fit.targets, loop.fit.train)
        ):
            raise DataError(
                f"The loss is {loss} because the training data have NaN or infinity: a batch in its {in_data}. Fill or remove them."
            )
        return loss

    return step
