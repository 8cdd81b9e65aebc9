"""Callbacks between loss and step: gradient accumulation, gradient clipping, mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ravine._whole_numbers import whole
from ravine.errors import OptionError
from ravine.train._arguments_of_others import answers
from ravine.train._callback import Callback
from ravine.train._fit import Fit
from ravine.train._forward import row_count
from ravine.train._stepping import refuse_closure, stepped_parameters


class GradientAccumulation(Callback):
    """Makes one step for several batches, with the gradient of the mean loss over all their rows.

    That holds where batches differ in size, too, and where an epoch ends before the last group is full.

    Args:
        batches: how many batches make one step, at least 1.
        count: from a batch's inputs and targets to how many items its loss is the mean of. None: torch's losses say it
            themselves, with class weights and ``ignore_index``; of other losses rows are counted. A loss of your own that
            ignores padding counts the other tokens.
    """

    order: ClassVar[int] = -20  # a step that is skipped must not be clipped or unscaled

    @answers
    def __init__(self, batches: int, count: Callable[[Any, Any], float] | None = None) -> None:
        number = whole(batches)
        if number is None or number < 1:
            raise OptionError(f"GradientAccumulation({batches!r}): give a whole number of batches, at least 1.")
        self.batches = number
        self.count = count
        self._taken = 0
        self._items: Tensor | float = 0.0
        self._expected: Tensor | float = 1.0

    def __repr__(self) -> str:
        return f"GradientAccumulation({self.batches})"

    def before_fit(self, fit: Fit) -> None:
        refuse_closure(self, fit.optimizer)
        if fit.batches_per_step is not None:
            raise OptionError(
                "This fit has two GradientAccumulation callbacks; give one, with the product of their batches."
            )
        fit.batches_per_step = self.batches
        self._taken = 0

    def after_loss(self, fit: Fit) -> None:
        items = self._count(fit)
        if self._taken == 0:
            # an estimate of the total, so that gradients have their final size from the start (float16 has little room)
            self._items, self._expected = 0.0, _at_least_one(items) * self.batches
        self._taken += 1
        self._items = self._items + items
        if isinstance(items, Tensor):  # on the device, where no truth value is asked for: that would wait for a GPU
            share = (items / self._expected).to(fit.backward_loss.dtype)
            fit.backward_loss = torch.where(items == 0, 0.0, fit.backward_loss * share)
        elif items:
            fit.backward_loss = fit.backward_loss * (items / self._expected)
        else:  # a mean over nothing is NaN, and must not reach the sum
            fit.backward_loss = fit.loss.new_zeros((), requires_grad=True)

    def _count(self, fit: Fit) -> Tensor | float:
        """How many items the batch's loss is the mean of; a tensor where the loss counts them on the device."""
        if self.count is not None:
            return float(self.count(fit.inputs, fit.targets))
        weight = fit.loss_weight
        if weight is None:
            return float(row_count(fit.targets))
        return weight.double() if isinstance(weight, Tensor) else weight

    def before_step(self, fit: Fit) -> bool | None:
        if self._taken < self.batches and not fit.epoch_ends:
            return False
        items, expected = self._items, self._expected
        if isinstance(items, Tensor) or (items and items != expected):
            rest = torch.where(items == 0, 1.0, expected / items) if isinstance(items, Tensor) else expected / items
            for parameter in stepped_parameters(fit.optimizer):
                if parameter.grad is not None:
                    parameter.grad.mul_(rest)
        self._taken = 0
        return None


def _at_least_one(items: Tensor | float) -> Tensor | float:
    return items.clamp(min=1) if isinstance(items, Tensor) else max(items, 1.0)


class GradientClipping(Callback):
    """Clips the norm of all gradients of the optimizer's parameters, as ``torch.nn.utils.clip_grad_norm_``.

    Args:
        norm: the largest norm that is left as it is, above 0.

    Attributes:
        norms: the norm before clipping at every step so far.
    """

    @answers
    def __init__(self, norm: float) -> None:
        if not isinstance(norm, int | float) or not norm > 0:
            raise OptionError(f"GradientClipping({norm!r}): give the largest norm, a number above 0.")
        self.norm = float(norm)
        self._norms: list[Tensor] = []

    def __repr__(self) -> str:
        return f"GradientClipping({self.norm})"

    @property
    def norms(self) -> list[float]:
        """The norm before clipping at every step so far; reading it waits for a GPU."""
        return [float(norm) for norm in self._norms]

    def before_fit(self, fit: Fit) -> None:
        refuse_closure(self, fit.optimizer)

    def before_step(self, fit: Fit) -> None:
        self._norms.append(torch.nn.utils.clip_grad_norm_(stepped_parameters(fit.optimizer), self.norm))


class MixedPrecision(Callback):
    """Runs the forward pass under torch's autocast; the parameters keep their dtype.

    Args:
        dtype: ``torch.bfloat16``, or ``torch.float16``, where the loss is scaled so that small gradients do not
            vanish; a step whose gradients overflow is left out and the scale is halved.
    """

    order: ClassVar[int] = -10  # gradients are unscaled before anything reads them

    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        if dtype not in (torch.bfloat16, torch.float16):
            raise OptionError(f"MixedPrecision({dtype}): the dtype is torch.bfloat16 or torch.float16.")
        self.dtype = dtype
        self.scaler: torch.amp.GradScaler | None = None

    def __repr__(self) -> str:
        return f"MixedPrecision({self.dtype})"

    def before_fit(self, fit: Fit) -> None:
        if self.dtype is torch.float16:
            refuse_closure(self, fit.optimizer)
            kept = self.state_dict()  # a new scaler, because an earlier fit may have ended in the middle of a step
            self.scaler = torch.amp.GradScaler(fit.device.type)
            self.load_state_dict(kept)
            fit.loss_is_scaled = True

    def forward_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        return torch.autocast(next(model.parameters()).device.type, self.dtype)

    def after_loss(self, fit: Fit) -> None:
        if self.scaler is not None:
            fit.backward_loss = self.scaler.scale(fit.backward_loss)

    def before_step(self, fit: Fit) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(fit.optimizer)

    def stepper(self, fit: Fit) -> Callable[[], Any] | None:
        scaler = self.scaler
        if scaler is None:
            return None

        def step() -> bool:
            scale = scaler.get_scale()
            scaler.step(fit.optimizer)
            scaler.update()
            return scaler.get_scale() >= scale  # it is lowered where the step was left out

        return step

    def state_dict(self) -> dict[str, Any]:
        return {} if self.scaler is None else dict(self.scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
