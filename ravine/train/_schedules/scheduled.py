"""A schedule that moves an optimizer in a loop other than the Learner's."""

from __future__ import annotations

from typing import Any

from torch import nn

from ravine._compat.torch import count_as_stepped
from ravine.train._callback import Callback
from ravine.train._display.base import Display
from ravine.train._fit import Fit
from ravine.train._forward import ForwardPass
from ravine.train._recorder import Recorder


class Scheduled:
    """A schedule and the optimizer that it moves.

    Args:
        schedule: the schedule; not one that waits for a loss, which another loop would have to give.
        optimizer: what it moves.
        model: a model, that is only named.
        epochs, batches: the length of the training, and of one epoch.
    """

    def __init__(self, schedule: Callback, optimizer: Any, model: nn.Module, epochs: int, batches: int) -> None:
        self._schedule = schedule
        length: Any = range(batches)
        self._fit = Fit(
            ForwardPass(model), _no_loss, {}, length, None, optimizer, Recorder(None), Display(), epochs=epochs
        )
        self._fit.state.epoch = 1
        self._schedule.before_fit(self._fit)
        # torch warns of a scheduler that moves before the optimizer; here steps are made around optimizer.step
        count_as_stepped(optimizer)

    def __repr__(self) -> str:
        return f"Scheduled({self._schedule!r}, {self._fit!r})"

    def before_batch(self) -> None:
        """A batch is about to be trained on."""
        self._schedule.before_batch(self._fit)

    def after_step(self) -> None:
        """The optimizer has made a step."""
        self._fit.state.step += 1
        self._fit.state.batch += 1
        self._schedule.after_step(self._fit)

    def after_epoch(self) -> None:
        """The epoch's last step has been made."""
        self._fit.state.batch = 0
        self._schedule.after_epoch(self._fit)
        self._fit.state.epoch += 1


def _no_loss(*_: Any) -> Any:
    raise AssertionError("a schedule computes no loss")
