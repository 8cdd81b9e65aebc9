"""From a batch to outputs and a loss: what a batch must be, how a model is called, and inside what it runs."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ravine._compat import pytree
from ravine._compat.torch import compiled_from
from ravine.errors import OptionError, TrainingError, an, kind_of
from ravine.train import _batch_errors as batch_errors
from ravine.train._rows import from_numpy

Context = Callable[[nn.Module], AbstractContextManager[Any] | None]
"""Gives what a forward pass of that model runs in, or None for nothing special."""

_TARGETS = ("labels", "label", "targets", "target", "y")


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

    def outputs(self, inputs: Any, rows: int | None = None) -> Any:
        """The model's outputs for a batch's inputs, of so many rows, without training on it."""
        with self.context():
            return call(self.model, inputs, rows)

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


def call(model: nn.Module, inputs: Any, rows: int | None = None) -> Any:
    """The model's outputs: a tuple of inputs becomes its arguments, a dict its named arguments.

    A list of tensors, one for each of the ``rows``, is one argument, as for models that detect things in pictures; and so is
    whatever a model whose ``forward`` has one argument could not take otherwise.

    Raises:
        TrainingError: the inputs do not fit the model's arguments, or its dtype.
    """
    try:
        if isinstance(inputs, tuple | list):
            return model(*inputs) if _are_arguments(model, inputs, rows) else model(inputs)
        if isinstance(inputs, Mapping):
            return model(**inputs) if _are_named_arguments(model, inputs) else model(inputs)
        return model(inputs)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        if (explained := batch_errors.of_model(error, model, inputs)) is None:
            raise
        raise explained from error


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    """Those of the model's ``forward``; of a model in a wrapper that hands on whatever it is given, the model's own."""
    inner = compiled_from(model)
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        inner = model.module
    try:
        return list(inspect.signature((inner or model).forward).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("inputs", inspect.Parameter.VAR_POSITIONAL)]


def positional_arguments(model: nn.Module) -> tuple[int, float]:
    """How many arguments without a name the model needs, and how many it can take."""
    parameters = _parameters(model)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    endless = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return sum(p.default is p.empty for p in named), math.inf if endless else len(named)


def _are_arguments(model: nn.Module, inputs: Sequence[Any], rows: int | None) -> bool:
    """Whether a tuple or list of inputs is the model's arguments, and not one argument."""
    needed, most = positional_arguments(model)
    if needed >= 2:
        return True
    if len(inputs) > most:
        return False
    lengths = {len(x) if x.ndim else 0 for x in inputs if isinstance(x, Tensor)}
    if not inputs or not all(isinstance(x, Tensor) for x in inputs):
        return bool(inputs)
    return len(lengths) == 1 if rows is None else len(inputs) != rows or lengths == {rows}


def _are_named_arguments(model: nn.Module, inputs: Mapping[str, Any]) -> bool:
    parameters = _parameters(model)
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    return takes_any or bool(names & inputs.keys()) or positional_arguments(model) != (1, 1)


def pair(batch: Any, device: torch.device) -> tuple[Any, Any]:
    """The batch's inputs and targets, on the model's device; NumPy's arrays become tensors."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        several = isinstance(batch, tuple | list) and len(batch) > 2
        hint = " Several inputs are one of the two: ((first, second), targets), by a DataLoader's collate_fn." * several
        if isinstance(batch, Mapping):
            name = next((key for key in batch if str(key).lower() in _TARGETS), "targets")
            hint = (
                " One with its targets in it becomes a pair by a DataLoader's collate_fn: lambda rows: (batch := "
                f'torch.utils.data.default_collate(rows), batch["{name}"]).'
            )
        raise OptionError(f"A batch of the data is {an(kind_of(batch))}; it must be a pair (inputs, targets).{hint}")
    inputs, targets = batch
    if type(inputs) is Tensor and type(targets) is Tensor:
        if inputs.device == device and targets.device == device:
            return inputs, targets
        return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
    return on_device(inputs, device), on_device(targets, device, targets=True)


def on_device(tree: Any, device: torch.device, *, targets: bool = False) -> Any:
    """All tensors and arrays in it as tensors there."""

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray | np.generic):
            leaf = from_numpy(leaf, targets=targets)
        return leaf.to(device, non_blocking=True) if isinstance(leaf, Tensor) else leaf

    return pytree.tree_map(moved, tree)


def checked_loss(value: Any) -> Tensor:
    """A loss that can be differentiated, as a tensor without dimensions."""
    if not isinstance(value, Tensor):
        raise TrainingError(f"The loss is {an(kind_of(value))}; it must be a tensor of one number, computed by torch.")
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
    """How many rows a batch has: the length of its first tensor that has one, or of a list with a target for each row."""
    if type(targets) is Tensor and targets.ndim:
        return len(targets)
    if isinstance(targets, list | tuple) and targets:
        if all(isinstance(row, Mapping) for row in targets):
            return len(targets)
        lengths = {len(row) for row in targets if isinstance(row, Tensor) and row.ndim}
        if len(lengths) > 1 and all(isinstance(row, Tensor) for row in targets):
            return len(targets)
    for leaf in pytree.tree_leaves(targets):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    return 1
