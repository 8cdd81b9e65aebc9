"""Callbacks between loss and step: gradient accumulation, gradient clipping, mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ravine.errors import OptionError
from ravine.train import _check as check
from ravine.train._callback import Callback

if TYPE_CHECKING:
    from ravine.train._learner import Learner


class GradientAccumulation(Callback):
    """One step for several batches, with the gradient of all their rows together.

    The gradient is that of the mean over the joined rows, also where batches differ in size or an epoch ends
    before the last group is full.

    Args:
        batches: how many batches make one step, at least 1.
        count: how many items a batch's loss is the mean of, from its inputs and targets; None takes its rows. A
            language model that ignores padding counts what it does not ignore.
    """

    order: ClassVar[int] = -20  # a step that is held back must not be clipped or unscaled

    def __init__(self, batches: int, count: Callable[[Any, Any], float] | None = None) -> None:
        if not isinstance(batches, int) or isinstance(batches, bool) or batches < 1:
            raise OptionError(f"GradientAccumulation({batches!r}): give a whole number of batches, at least 1.")
        self.batches = batches
        self.count = count or (lambda inputs, targets: check.rows(targets))
        self._taken, self._items, self._expected = 0, 0.0, 1.0

    def __repr__(self) -> str:
        return f"GradientAccumulation({self.batches})"

    def before_fit(self, learn: Learner) -> None:
        check.one_evaluation(self, learn)
        if sum(isinstance(c, GradientAccumulation) for c in learn._active) > 1:
            raise OptionError("Two GradientAccumulation are in this fit; give one, with the product of their batches.")
        self._taken = 0

    def after_loss(self, learn: Learner) -> None:
        items = float(self.count(learn.inputs, learn.targets))
        if self._taken == 0:
            # a guess at the whole, so that gradients have their final size from the start (float16 has little room)
            self._items, self._expected = 0.0, max(items, 1.0) * self.batches
        self._taken += 1
        self._items += items
        if items:
            learn.objective = learn.objective * (items / self._expected)
        else:  # a mean over nothing is NaN, and has no part in the mean over all
            learn.objective = learn.loss.new_zeros((), requires_grad=True)

    def before_step(self, learn: Learner) -> bool | None:
        if self._taken < self.batches and not learn.epoch_ends:
            return False
        if self._items and self._items != self._expected:
            for parameter in stepped(learn):
                if parameter.grad is not None:
                    parameter.grad.mul_(self._expected / self._items)
        self._taken = 0
        return None


def stepped(learn: Learner) -> list[torch.Tensor]:
    """The optimizer's parameters: gradients of others are never set to zero, and add up for nothing."""
    return [p for group in learn.optimizer.param_groups for p in group["params"]]


class GradientClipping(Callback):
    """Shortens the gradient of all the optimizer's parameters to a norm, as ``torch.nn.utils.clip_grad_norm_``.

    Args:
        norm: the largest norm, above 0.

    Attributes:
        norms: the norm before clipping, of every step so far.
    """

    def __init__(self, norm: float) -> None:
        if not isinstance(norm, int | float) or not norm > 0:
            raise OptionError(f"GradientClipping({norm!r}): give the largest norm, a number above 0.")
        self.norm = float(norm)
        self._norms: list[torch.Tensor] = []

    def __repr__(self) -> str:
        return f"GradientClipping({self.norm})"

    @property
    def norms(self) -> list[float]:
        return [float(norm) for norm in self._norms]

    def before_fit(self, learn: Learner) -> None:
        check.one_evaluation(self, learn)

    def before_step(self, learn: Learner) -> None:
        self._norms.append(torch.nn.utils.clip_grad_norm_(stepped(learn), self.norm))


class MixedPrecision(Callback):
    """The forward pass in 16 bits where torch's autocast thinks it safe; the parameters stay as they are.

    Args:
        dtype: ``torch.bfloat16``, or ``torch.float16``, whose loss is scaled so that small gradients do not
            vanish; a step whose gradients overflow is left out and the scale halved.
    """

    order: ClassVar[int] = -10  # gradients are unscaled before anything looks at them

    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        if dtype not in (torch.bfloat16, torch.float16):
            raise OptionError(f"MixedPrecision({dtype}): the dtype is torch.bfloat16 or torch.float16.")
        self.dtype = dtype
        self.scaler: torch.amp.GradScaler | None = None

    def __repr__(self) -> str:
        return f"MixedPrecision({self.dtype})"

    def before_fit(self, learn: Learner) -> None:
        if self.dtype is torch.float16:
            check.one_evaluation(self, learn)
            kept = self.state_dict()  # a new scaler, because an earlier fit may have ended in the middle of a step
            self.scaler = torch.amp.GradScaler(learn.device.type)
            self.load_state_dict(kept)

    def forward_context(self, learn: Learner) -> AbstractContextManager[Any]:
        return torch.autocast(learn.device.type, self.dtype)

    def after_loss(self, learn: Learner) -> None:
        if self.scaler is not None:
            learn.objective = self.scaler.scale(learn.objective)

    def before_step(self, learn: Learner) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(learn.optimizer)

    def stepper(self, learn: Learner) -> Callable[[], Any] | None:
        scaler = self.scaler
        if scaler is None:
            return None

        def step() -> bool:
            scale = scaler.get_scale()
            scaler.step(learn.optimizer)
            scaler.update()
            return scaler.get_scale() >= scale  # it is lowered where the step was left out

        return step

    def state_dict(self) -> dict[str, Any]:
        return {} if self.scaler is None else dict(self.scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
