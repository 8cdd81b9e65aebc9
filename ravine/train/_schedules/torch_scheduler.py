"""Torch's schedulers as callbacks: moved by step or by epoch, or when a loss stops improving.

No schedule of torch is written again here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import lr_scheduler

from ravine.errors import OptionError
from ravine.train._callback import Callback, argument_text, check_column
from ravine.train._fit import Fit


class _TorchSchedule(Callback):
    """A scheduler of torch, made when the fit begins and kept in its checkpoints."""

    def __init__(self, scheduler: Callable[..., Any], *args: Any, length: str | None = None, **kwargs: Any) -> None:
        if isinstance(scheduler, lr_scheduler.LRScheduler) or not callable(scheduler):
            raise OptionError(
                f"{scheduler!r} is no scheduler's class. Give the class and its arguments without the optimizer: "
                f"{type(self).__name__}(StepLR, step_size=800, gamma=0.9)."
            )
        self.make, self.args, self.kwargs, self.length = scheduler, args, kwargs, length
        self.scheduler: Any = None

    def __repr__(self) -> str:
        given = [*map(argument_text, self.args), *(f"{k}={argument_text(v)}" for k, v in self.kwargs.items())]
        if self.length:
            given.append(f"length={self.length!r}")
        return f"{type(self).__name__}({', '.join([argument_text(self.make), *given])})"

    def times(self, fit: Fit) -> int:
        """How many times the scheduler is stepped in this fit."""
        raise NotImplementedError

    def before_fit(self, fit: Fit) -> None:
        for group in fit.optimizer.param_groups:
            group.pop("initial_lr", None)  # an earlier fit's scheduler began elsewhere
        counted = {self.length: self.times(fit)} if self.length else {}
        try:
            self.scheduler = self.make(fit.optimizer, *self.args, **self.kwargs, **counted)
        except (TypeError, ValueError, KeyError) as error:
            raise OptionError(f"{self!r} cannot be made: {error}") from error
        if not isinstance(self.scheduler, lr_scheduler.LRScheduler):
            raise OptionError(f"{self!r} made a {type(self.scheduler).__name__}, which is no scheduler of torch.")
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau) and not isinstance(self, OnPlateau):
            raise OptionError(f"{self!r} has no loss to go by; write OnPlateau(patience=5, factor=0.7).")

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = self.scheduler.state_dict()
        return found

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)
        # torch warns of a scheduler that moves before the optimizer; here the steps were made before the run stopped
        self.scheduler.optimizer._opt_called = True


class PerStep(_TorchSchedule):
    """A scheduler of ``torch.optim.lr_scheduler`` that moves after every step of the optimizer.

    Args:
        scheduler: its class, or any function that makes it from the optimizer.
        args, kwargs: its arguments after the optimizer.
        length: the name of its argument that takes the number of all steps, such as ``T_max`` or ``total_steps``.

    Example::

        learn.fit(5, 1e-2, PerStep(StepLR, step_size=800, gamma=0.9))
        learn.fit(5, 1e-2, PerStep(CosineAnnealingLR, length="T_max"))
    """

    def times(self, fit: Fit) -> int:
        if fit.batches is None:
            raise OptionError(f"{self!r} needs the number of steps, but the training data has no len().")
        return fit.state.epochs * math.ceil(fit.batches / (fit.batches_per_step or 1))

    def after_step(self, fit: Fit) -> None:
        self.scheduler.step()


class PerEpoch(_TorchSchedule):
    """A scheduler of ``torch.optim.lr_scheduler`` that moves after every epoch; arguments as for :class:`PerStep`."""

    def times(self, fit: Fit) -> int:
        return fit.state.epochs

    def after_epoch(self, fit: Fit) -> None:
        self.scheduler.step()


class OnPlateau(_TorchSchedule):
    """Lowers the learning rate when a loss or metric stops improving, and says so.

    Args:
        patience: so many epochs may pass without improvement; the next one lowers the rate.
        factor: what the rate is multiplied by.
        monitor: a column of the table. A loss improves by falling, anything else by rising, unless ``mode`` says.
        kwargs: other arguments of ``torch.optim.lr_scheduler.ReduceLROnPlateau``.
    """

    def __init__(self, patience: int = 10, factor: float = 0.1, monitor: str = "valid_loss", **kwargs: Any) -> None:
        kwargs.setdefault("mode", "min" if monitor.endswith("loss") else "max")
        super().__init__(lr_scheduler.ReduceLROnPlateau, patience=patience, factor=factor, **kwargs)
        self.monitor = monitor

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, monitor={self.monitor!r})"

    def before_fit(self, fit: Fit) -> None:
        check_column(self, fit, self.monitor)
        super().before_fit(fit)

    def after_epoch(self, fit: Fit) -> None:
        value = float(fit.row[self.monitor])
        before = [float(group["lr"]) for group in fit.optimizer.param_groups]
        self.scheduler.step(value)
        after = [float(group["lr"]) for group in fit.optimizer.param_groups]
        if after != before:
            waited = self.scheduler.patience + 1
            changes = dict.fromkeys(f"{b:.4g} -> {a:.4g}" for b, a in zip(before, after, strict=True))
            fit.say(
                f"epoch {fit.state.epoch}: {self.monitor} has not improved for {waited} "
                f"{'epoch' if waited == 1 else 'epochs'}: lr {', '.join(changes)}"
            )
