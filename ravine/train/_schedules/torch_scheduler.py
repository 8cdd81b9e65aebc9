"""Torch's schedulers as callbacks: moved by step or by epoch, or when a loss stops improving.

No schedule of torch is written again here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from torch.optim import lr_scheduler

from ravine._compat.torch import count_as_stepped
from ravine.errors import OptionError, an, nearest
from ravine.train._callback import Callback, argument_text, check_column
from ravine.train._fit import Fit
from ravine.train._metrics import lower_is_better
from ravine.train._schedules import _ranges as ranges

PATIENCE, FACTOR = 10, 0.1
"""The defaults of ``torch.optim.lr_scheduler.ReduceLROnPlateau``."""

_EXAMPLE = "TorchScheduler(StepLR, step_size=800, gamma=0.9)"


class TorchScheduler(Callback):
    """A scheduler of ``torch.optim.lr_scheduler``, made when the fit begins and kept in its checkpoints.

    Args:
        scheduler: its class, or any function that makes it from the optimizer.
        args, kwargs: its arguments after the optimizer.
        every: when it moves: after every ``"step"`` of the optimizer, or after every ``"epoch"``.
        length: the name of its argument that takes how many times it moves in the fit, such as ``"T_max"`` or
            ``"total_steps"``.

    Raises:
        OptionError: ``scheduler`` makes none, or ``every`` is something else.

    Example::

        learn.fit(5, 1e-2, TorchScheduler(StepLR, step_size=800, gamma=0.9))
        learn.fit(5, 1e-2, TorchScheduler(CosineAnnealingLR, length="T_max"))
        learn.fit(5, 1e-2, TorchScheduler(ExponentialLR, gamma=0.9, every="epoch"))
    """

    def __init__(
        self,
        scheduler: Callable[..., Any],
        *args: Any,
        every: Literal["step", "epoch"] = "step",
        length: str | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(scheduler, lr_scheduler.LRScheduler) or not callable(scheduler):
            raise OptionError(
                f"{scheduler!r} is not a scheduler's class. Give the class and its arguments without the optimizer: "
                f"{_EXAMPLE}."
            )
        if every not in ("step", "epoch"):
            raise OptionError(f"every {every!r}: a scheduler moves after every 'step' or after every 'epoch'.")
        ranges.check(argument_text(scheduler), scheduler, args, kwargs)
        self.make, self.args, self.kwargs = scheduler, args, kwargs
        self.every, self.length = every, length
        self.scheduler: Any = None

    def __repr__(self) -> str:
        arguments = [argument_text(self.make), *map(argument_text, self.args)]
        arguments += [f"{name}={argument_text(value)}" for name, value in self.kwargs.items()]
        arguments += [f"every={self.every!r}"] + ([f"length={self.length!r}"] if self.length else [])
        return f"TorchScheduler({', '.join(arguments)})"

    def before_fit(self, fit: Fit) -> None:
        counted = {self.length: self._moves(fit)} if self.length else {}
        self.scheduler = make_scheduler(self, self.make, fit, *self.args, **self.kwargs, **counted)
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            raise OptionError(f"{self!r} has no loss to go by; write ReduceOnPlateau(patience=5, factor=0.7).")

    @property
    def over_the_run(self) -> bool:  # type: ignore[override]
        return self.length is not None

    def over(self, steps: int) -> TorchScheduler:
        """The same for a run of so many steps, which may end within an epoch."""
        if self.length is None or self.every != "step":
            return self
        arguments: dict[str, Any] = {**self.kwargs, self.length: steps}
        return TorchScheduler(self.make, *self.args, **arguments)

    def _moves(self, fit: Fit) -> int:
        """How many times the scheduler moves in this fit."""
        if self.every == "epoch":
            return fit.state.epochs
        if fit.batches is None:
            raise OptionError(
                f"{self!r} needs the number of steps, but the training data has no len(): Learner(..., steps_per_epoch=500)."
            )
        return fit.state.epochs * math.ceil(fit.batches / (fit.batches_per_step or 1))

    def after_step(self, fit: Fit) -> None:
        if self.every == "step":
            self.scheduler.step()

    def after_epoch(self, fit: Fit) -> None:
        if self.every == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        load_scheduler(self.scheduler, state)


class ReduceOnPlateau(Callback):
    """Lowers the learning rate when a loss or metric stops improving, and says so.

    Args:
        patience: so many epochs (or steps) may pass without improvement; the next one lowers the rate. 10, as in torch.
        factor: what the rate is multiplied by; 0.1, as in torch.
        monitor: what is watched. None: ``valid_loss``, and by steps ``train_loss``, the loss of the batch. After an epoch
            it may be any column of the table, and then as after a step ``smooth_loss`` (what the progress bar shows) or,
            of an optimizer of ours, ``grad_norm``, ``param_norm`` or ``update_norm``, of all parameters together. Losses,
            errors and norms improve by falling, anything else by rising, unless ``mode`` says.
        every: when it looks: after every ``"epoch"``, or after every ``"step"``.
        kwargs: other arguments of ``torch.optim.lr_scheduler.ReduceLROnPlateau``. A ``threshold`` in its mode ``rel`` is a
            share of the best value's magnitude, which for losses below 0 differs from torch: there standing still would
            be an improvement.

    Raises:
        OptionError: ``patience``, ``factor`` or ``every`` is something else, or there is no such number to watch.
    """

    def __init__(
        self,
        patience: int = PATIENCE,
        factor: float = FACTOR,
        monitor: str | None = None,
        *,
        every: Literal["step", "epoch"] = "epoch",
        **kwargs: Any,
    ) -> None:
        if every not in ("step", "epoch"):
            raise OptionError(f"every {every!r}: ReduceOnPlateau looks after every 'step' or after every 'epoch'.")
        self.every, self.monitor = every, monitor or ("train_loss" if every == "step" else "valid_loss")
        if every == "step" and self.monitor not in _BY_STEP:
            raise OptionError(
                f"ReduceOnPlateau by steps cannot watch {self.monitor!r}. {nearest(self.monitor, _BY_STEP)}"
            )
        kwargs.setdefault("mode", "min" if lower_is_better(self.monitor) or self.monitor.endswith("norm") else "max")
        self.kwargs = {"patience": patience, "factor": factor, **kwargs}
        ranges.check("ReduceOnPlateau", lr_scheduler.ReduceLROnPlateau, (), self.kwargs)
        self.scheduler: Any = None
        self._threshold = 0.0

    def __repr__(self) -> str:
        arguments = [f"{name}={argument_text(value)}" for name, value in self.kwargs.items()]
        arguments.append(f"monitor={self.monitor!r}")
        arguments += ["every='step'"] if self.every == "step" else []
        return f"ReduceOnPlateau({', '.join(arguments)})"

    def before_fit(self, fit: Fit) -> None:
        if self.every == "epoch" and self.monitor not in _BY_STEP:
            check_column(self, fit, self.monitor)
        if self.monitor in _NORMS and not getattr(getattr(fit.optimizer, "watch", None), "on", False):
            raise OptionError(
                f"{self!r} watches what an optimizer of ravine.optim records, and this one records nothing."
            )
        self.scheduler = make_scheduler(self, lr_scheduler.ReduceLROnPlateau, fit, **self.kwargs)
        self._threshold = self.scheduler.threshold

    def after_batch(self, fit: Fit) -> None:
        if self.every == "step" and not fit.step_skipped:
            self._look(fit, _BY_STEP[self.monitor](fit), f"step {len(fit.recorder):,}")

    def after_epoch(self, fit: Fit) -> None:
        if self.every == "epoch":
            value = fit.row[self.monitor] if self.monitor in fit.row else _BY_STEP[self.monitor](fit)
            self._look(fit, float(value), f"epoch {fit.state.epoch}")

    def _look(self, fit: Fit, value: float, when: str) -> None:
        scheduler, best = self.scheduler, self.scheduler.best
        if self.kwargs.get("threshold_mode", "rel") == "rel":
            below = -math.inf < best < 0  # torch takes best * (1 - threshold), which is then above best
            scheduler.threshold_mode = "abs" if below else "rel"
            scheduler.threshold = self._threshold * -best if below else self._threshold
        before = [float(group["lr"]) for group in fit.optimizer.param_groups]
        scheduler.step(value)
        after = [float(group["lr"]) for group in fit.optimizer.param_groups]
        if after != before:
            waited = scheduler.patience + 1
            changes = dict.fromkeys(f"{b:.4g} -> {a:.4g}" for b, a in zip(before, after, strict=True))
            fit.say(
                f"{when}: {self.monitor} has not improved for {waited:,} {self.every}{'s' * (waited != 1)}: "
                f"lr {', '.join(changes)}"
            )

    def state_dict(self) -> dict[str, Any]:
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        load_scheduler(self.scheduler, state)


_NORMS = ("grad_norm", "param_norm", "update_norm")
_BY_STEP: dict[str, Callable[[Fit], float]] = {
    "train_loss": lambda fit: float(fit.loss),
    "smooth_loss": lambda fit: fit.recorder.smooth_loss,
    **{
        name: lambda fit, name=name: float(getattr(fit.optimizer.watch.last, name))  # type: ignore[misc]
        for name in _NORMS
    },
}
"""What ``ReduceOnPlateau`` can watch after a step. A loss on a GPU is waited for."""


def make_scheduler(schedule: Callback, make: Callable[..., Any], fit: Fit, *args: Any, **kwargs: Any) -> Any:
    """A new scheduler of torch for the fit's optimizer; what is wrong with its arguments names the schedule."""
    for group in fit.optimizer.param_groups:
        group.pop("initial_lr", None)  # an earlier fit's scheduler began elsewhere
    try:
        scheduler = make(fit.optimizer, *args, **kwargs)
    except (TypeError, ValueError, KeyError) as error:
        length = next((name for name in ("T_max", "total_steps") if name in str(error)), "")
        hint = f". For the steps of the fit, TorchScheduler(..., length={length!r})" * bool(length)
        raise OptionError(f"{schedule!r} cannot be made: {error}{hint}") from error
    if not isinstance(scheduler, lr_scheduler.LRScheduler):
        raise OptionError(f"{schedule!r} made {an(type(scheduler).__name__)}, which is not a scheduler of torch.")
    return scheduler


def load_scheduler(scheduler: Any, state: dict[str, Any]) -> None:
    """Let the scheduler continue from its state dict."""
    scheduler.load_state_dict(state)
    # torch warns of a scheduler that moves before the optimizer; here the steps were made before the run stopped
    count_as_stepped(scheduler.optimizer)
