"""From a batch to outputs and a loss: what a batch must be, how a model is called, and inside what it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ravine.errors import OptionError, TrainingError, kind_of

Context = Callable[[nn.Module], AbstractContextManager[Any] | None]
"""Gives what a forward pass of that model runs in, or None for nothing special."""


class ForwardPass:
    """Runs a model the way callbacks ask for it, such as under autocast.

    Args:
        model: the model itself; it is what is evaluated.
        contexts: what each forward pass runs in, from the outside to the inside.
        training_model: what is called to train; with several processes one that averages their gradients.
    """

    def __init__(
        self, model: nn.Module, contexts: Sequence[Context] = (), training_model: nn.Module | None = None
    ) -> None:
        self.model, self.contexts = model, tuple(contexts)
        self.training_model = model if training_model is None else training_model

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are; batches are moved there."""
        return next(self.model.parameters()).device

    def context(self) -> AbstractContextManager[Any]:
        """All contexts as one."""
        if not self.contexts:
            return contextlib.nullcontext()
        stack = contextlib.ExitStack()
        for make in self.contexts:
            context = make(self.model)
            if context is not None:
                stack.enter_context(context)
        return stack

    def outputs(self, inputs: Any) -> Any:
        """The model's outputs for a batch's inputs, without training on it."""
        with self.context():
            return call(self.model, inputs)

    @contextlib.contextmanager
    def eval_mode(self) -> Iterator[None]:
        """No gradients, and every module in evaluation mode; afterwards those that were training train again."""
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module in training:
                module.training = True


def call(model: nn.Module, inputs: Any) -> Any:
    """The model's outputs: a tuple of inputs becomes its arguments, a dict its named arguments."""
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(inputs)


def pair(batch: Any, device: torch.device) -> tuple[Any, Any]:
    """The batch's inputs and targets, on the model's device."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise OptionError(f"A batch of the data is a {kind_of(batch)}; it must be a pair (inputs, targets).")
    inputs, targets = batch
    if type(inputs) is Tensor and type(targets) is Tensor:
        if inputs.device == device and targets.device == device:
            return inputs, targets
        return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
    moved: tuple[Any, Any] = pytree.tree_map_only(Tensor, lambda t: t.to(device, non_blocking=True), (inputs, targets))
    return moved


def checked_loss(value: Any) -> Tensor:
    """A loss that can be differentiated, as a tensor without dimensions."""
    if not isinstance(value, Tensor):
        raise TrainingError(f"The loss is a {kind_of(value)}; it must be a tensor of one number, computed by torch.")
    if value.ndim and value.numel() != 1:
        raise TrainingError(
            f"The loss has shape {tuple(value.shape)}; it must be one number. Take its mean: reduction='mean'."
        )
    if not value.requires_grad:
        raise TrainingError(
            "The loss does not depend on any parameter that requires a gradient. Was it detached, computed under "
            "no_grad or by .item(), or from a model that is frozen?"
        )
    return value.reshape(()) if value.ndim else value


def row_count(targets: Any) -> int:
    """How many rows a batch has: the length of its first tensor that has one."""
    if type(targets) is Tensor and targets.ndim:
        return len(targets)
    for leaf in pytree.tree_leaves(targets):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    return 1
