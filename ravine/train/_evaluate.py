"""What a model does on data without being trained: mean loss and metrics over all rows, and its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.errors import OptionError, RavineError, TrainingError
from ravine.train import _check as check
from ravine.train import _parallel as parallel
from ravine.train._batches import Batches

if TYPE_CHECKING:
    from ravine.train._loop import Loop


def evaluate(learn: Loop, data: Iterable[Any]) -> dict[str, float]:
    """``valid_loss`` and the metrics: means over all rows of all processes, by name.

    Raises:
        TrainingError: a metric raises, or gives something that is no number.
        OptionError: there is no batch.
    """
    measures = {"valid_loss": learn.loss_func, **learn.metrics}
    totals = [torch.zeros((), dtype=torch.float64, device=learn.device) for _ in measures]
    count = 0
    with looking(learn):
        for batch in _in_order(data, parallel.rank(), parallel.size()):
            inputs, targets = check.pair(batch, learn.device)
            rows = check.rows(targets)
            if rows == 0:  # a process's share of a last batch may be nothing, of which there is no mean
                continue
            outputs = learn.outputs_for(inputs)
            for total, (name, measure) in zip(totals, measures.items(), strict=True):
                total += _number(name, measure, outputs, targets) * rows
            count += rows
    *sums, rows_of_all = parallel.sums([*totals, float(count)], learn.device)
    if not rows_of_all:
        raise OptionError("The validation data gave no batch. Is it empty?")
    return {name: total / rows_of_all for name, total in zip(measures, sums, strict=True)}


def outputs_of(learn: Loop, data: Iterable[Any] | Tensor) -> Tensor:
    """The model's outputs for all rows, one below the other, on the CPU."""
    if not isinstance(data, Tensor) and hasattr(data, "__array__"):
        raise OptionError(
            f"predict takes a tensor of inputs or batches, not a {check.kind(data)}: torch.as_tensor(...)."
        )
    if isinstance(data, Tensor):
        size = learn.valid.batch_size if isinstance(learn.valid, Batches) else 1024
        data = [(rows, rows) for rows in data.split(size)]
    found = []
    with looking(learn):
        for batch in _in_order(data):
            inputs, _ = check.pair(batch, learn.device)
            outputs = learn.outputs_for(inputs)
            if not isinstance(outputs, Tensor):
                raise TrainingError(f"The model's output is a {check.kind(outputs)}; predict stacks tensors of rows.")
            found.append(outputs.cpu())
    if not found:
        raise OptionError("The data gave no batch to predict. Is it empty?")
    return torch.cat(found)


@contextmanager
def looking(learn: Loop) -> Iterator[None]:
    """No gradients, and every module as it is used, not as it is trained."""
    training = [module for module in learn.model.modules() if module.training]
    learn.model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _in_order(data: Iterable[Any], part: int = 0, parts: int = 1) -> Iterable[Any]:
    """Rows as they stand in the data, so that the first output is that of the first row; or a part of them."""
    return data.in_order(part, parts) if isinstance(data, Batches) else data


def _number(name: str, measure: Any, outputs: Any, targets: Any) -> Tensor:
    what = "loss" if name == "valid_loss" else f"metric {name!r}"
    try:
        found = measure(outputs, targets)
    except RavineError:
        raise
    except Exception as error:
        raise TrainingError(f"The {what} raised {type(error).__name__}: {error}") from error
    try:
        value = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        raise TrainingError(f"The {what} is a {type(found).__name__}; it must be one number.") from None
    if value.numel() != 1:
        raise TrainingError(f"The {what} has shape {tuple(value.shape)}; it must be one number, a mean over rows.")
    return value.detach().double().reshape(())
