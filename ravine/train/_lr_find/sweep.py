"""``learn.lr_find()``: sweeps the learning rate on copies of a Learner. What the losses mean is finder.py's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ravine.errors import OptionError, TrainingError
from ravine.train import _check as check
from ravine.train import _keeping as keeping
from ravine.train._batches import Batches
from ravine.train._callback import Callback
from ravine.train._display import Display, bar
from ravine.train._lr_find import finder
from ravine.train._schedules.one_cycle import OverRun

if TYPE_CHECKING:
    from ravine.train._learner import Learner

_SHAPING = ("before_batch", "after_loss", "before_step", "forward_context", "stepper")
"""A callback that has one of these changes what a step does, and so takes part in a sweep."""


def find(learn: Learner, *, start: float, end: float, steps: int, orders: int) -> finder.LRFind:
    """See :meth:`Learner.lr_find`."""
    if not isinstance(orders, int) or orders < 1:
        raise OptionError(f"orders {orders!r}: sweep over a whole number of orders of the data, at least 1.")
    check.trainable(learn.model)
    if check.needs_closure(learn.optimizer):
        raise OptionError(
            f"lr_find takes one step at each rate, but {type(learn.optimizer).__name__} evaluates a batch many times "
            "in a step and searches for its length itself."
        )
    rates = finder.rates(start, end, steps)
    losses = []
    before = keeping.start_of(learn.train)
    try:
        with bar(f"trying {len(rates)} learning rates", orders * len(rates), quiet=learn.quiet) as done:
            for order in range(orders):
                losses.append(finder.sweep(_stepping(_copy(learn, order), done), rates))
    finally:
        keeping.go_to(before, learn.train)
    return finder.LRFind(rates, np.stack(losses))


def _copy(learn: Learner, order: int) -> Learner:
    """A Learner like this one that shares nothing but the data, whose order is another."""
    from ravine.train._learner import Learner

    shaping = [c for c in learn.callbacks if any(getattr(type(c), n) is not getattr(Callback, n) for n in _SHAPING)]
    shaping = [c for c in shaping if not (isinstance(c, OverRun) or c.looks_only)]  # the rate is the sweep's
    try:
        # in one go, so that the copied optimizer has the copied model's parameters, whatever opt_func chose of them
        model, optimizer, loss, shaping = copy.deepcopy((learn.model, learn.optimizer, learn.loss_func, shaping))
    except Exception as error:  # whatever a module's own __deepcopy__ raises
        raise TrainingError(
            f"lr_find trains a copy of model, optimizer, loss and callbacks, but one cannot be copied: {error}"
        ) from error
    train = learn.train.reseeded(learn.train.seed + order) if isinstance(learn.train, Batches) else learn.train
    trial = Learner(model, (train, None), loss, learn.opt_func, (), callbacks=shaping, quiet=True)
    trial._optimizer = optimizer
    return trial


def _stepping(trial: Learner, done: Callable[[], Any]) -> Callable[[float], float]:
    """A function that trains on the next batch at a rate and gives the loss before the step."""
    train = by_batch(trial)

    def step(rate: float) -> float:
        check.set_rate(trial.optimizer, rate)
        next(train)
        done()
        return float(trial.loss)

    return step


def by_batch(trial: Learner) -> Iterator[None]:
    """Train, one batch each time it is asked, epoch after epoch."""
    step = trial._prepare(1, trial.callbacks, Display())
    trial.model.train()
    while True:
        trial.epoch, trial.batch = trial.epoch + 1, 0
        for batch in trial._from(0):
            trial._train_batch(batch, step, perf_counter())
            yield
        if not trial.batch:
            raise OptionError("The training data gave no batch. Is it empty?")
        trial._trained_epochs += 1
