"""What a model does on data without being trained: mean loss and metrics over all rows, and its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.errors import OptionError, RavineError, TrainingError, kind_of
from ravine.train import _parallel as parallel
from ravine.train._batches import Batches
from ravine.train._forward import ForwardPass, pair, row_count
from ravine.train._metrics import Measure

LOSS = "valid_loss"
"""The name of the loss among the measures."""


def evaluate(forward: ForwardPass, measures: Mapping[str, Measure], data: Iterable[Any]) -> dict[str, float]:
    """Each measure (the loss, under ``valid_loss``, and the metrics) as its mean over all rows of all processes.

    Raises:
        TrainingError: a metric raises, or gives something other than a number.
        OptionError: there is no batch.
    """
    device = forward.device
    totals = [torch.zeros((), dtype=torch.float64, device=device) for _ in measures]
    count = 0
    with forward.eval_mode():
        for batch in _in_order(data, parallel.rank(), parallel.size()):
            inputs, targets = pair(batch, device)
            rows = row_count(targets)
            if rows == 0:  # a process's part of the last batch may be empty, and has no mean
                continue
            outputs = forward.outputs(inputs)
            for total, (name, measure) in zip(totals, measures.items(), strict=True):
                total += _number(name, measure, outputs, targets) * rows
            count += rows
    *sums, rows_of_all = parallel.sums([*totals, float(count)], device)
    if not rows_of_all:
        raise OptionError("The validation data gave no batch. Is it empty?")
    return {name: total / rows_of_all for name, total in zip(measures, sums, strict=True)}


def predict(forward: ForwardPass, data: Iterable[Any] | Tensor, rows: int) -> Tensor:
    """The model's outputs for all rows, one below the other, on the CPU.

    Args:
        forward: runs the model.
        data: batches, or a tensor of inputs, shape (rows, ...).
        rows: how many of a tensor's rows are run together.

    Raises:
        OptionError: there is no batch, or ``data`` is neither batches nor a tensor.
        TrainingError: the outputs are not a tensor.
    """
    if not isinstance(data, Tensor) and hasattr(data, "__array__"):
        raise OptionError(f"predict takes a tensor of inputs or batches, not a {kind_of(data)}: torch.as_tensor(...).")
    if isinstance(data, Tensor):
        data = [(part, part) for part in data.split(rows)]
    parts = []
    with forward.eval_mode():
        for batch in _in_order(data):
            inputs, _ = pair(batch, forward.device)
            outputs = forward.outputs(inputs)
            if not isinstance(outputs, Tensor):
                raise TrainingError(f"The model's output is a {kind_of(outputs)}; predict stacks tensors of rows.")
            parts.append(outputs.cpu())
    if not parts:
        raise OptionError("The data gave no batch to predict. Is it empty?")
    return torch.cat(parts)


def _in_order(data: Iterable[Any], part: int = 0, parts: int = 1) -> Iterable[Any]:
    """Rows in the order of the data, so that the first output is that of the first row; or a part of them."""
    return data.in_order(part, parts) if isinstance(data, Batches) else data


def _number(name: str, measure: Measure, outputs: Any, targets: Any) -> Tensor:
    what = "loss" if name == LOSS else f"metric {name!r}"
    try:
        given = measure(outputs, targets)
    except RavineError:
        raise
    except Exception as error:
        raise TrainingError(f"The {what} raised {type(error).__name__}: {error}") from error
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise TrainingError(f"The {what} is a {type(given).__name__}; it must be one number.") from None
    if value.numel() != 1:
        raise TrainingError(f"The {what} has shape {tuple(value.shape)}; it must be one number, a mean over rows.")
    return value.detach().double().reshape(())
