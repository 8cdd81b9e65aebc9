"""The model's outputs for all rows: of batches with targets or without, or of inputs in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from ravine._line_of_user import level_of_user
from ravine.errors import OptionError, TrainingError, an, kind_of
from ravine.train import _rows as rows_in_memory
from ravine.train._batches import Batches
from ravine.train._forward import ForwardPass, on_device, positional_arguments, row_count


def predict(forward: ForwardPass, data: Any, rows: int, *, stack: bool = True) -> Any:
    """The model's outputs for all rows, on the CPU: one below the other, or a list with those of each batch.

    Args:
        forward: runs the model.
        data: batches, or inputs in memory: a tensor or array of shape (rows, ...), or a tuple or dict of them.
        rows: how many rows of such inputs are run together.
        stack: whether the outputs become one tensor.

    Raises:
        OptionError: there is no batch, or ``data`` is neither batches nor rows.
        TrainingError: the outputs cannot be stacked.
    """
    outputs: list[Any] = []
    with forward.eval_mode():
        for inputs, number in _inputs(forward, data, rows):
            try:
                given = forward.outputs(on_device(inputs, forward.device), number)
            except (TypeError, AttributeError) as error:
                if _is_tuple_of_inputs(data) and len(data) > positional_arguments(forward.model)[1]:
                    raise OptionError(
                        f"predict was given a tuple of {len(data)} tensors, and the model takes one. Of inputs and targets give "
                        "the inputs alone, or Batches(inputs, targets, 64)."
                    ) from error
                raise
            if stack:
                _check_stacks(outputs, given)
            outputs.append(on_device(given, torch.device("cpu")))
    if not outputs:
        raise OptionError("The data gave no batch to predict. Is it empty?")
    return torch.cat(outputs) if stack else outputs


def _check_stacks(before: list[Tensor], given: Any) -> None:
    if not isinstance(given, Tensor):
        raise TrainingError(
            f"The model's output is {an(kind_of(given))}; predict stacks tensors of rows. predict(data, stack=False) gives a "
            "list with the outputs of each batch."
        )
    if not given.ndim or (before and before[0].shape[1:] != given.shape[1:]):
        first = f", those of the first {tuple(before[0].shape)}" if before else ""
        raise TrainingError(
            f"The outputs of batch {len(before) + 1} have shape {tuple(given.shape)}{first}: they cannot be stacked. "
            "predict(data, stack=False) gives a list with the outputs of each batch."
        )


def _inputs(forward: ForwardPass, data: Any, rows: int) -> Iterator[tuple[Any, int | None]]:
    """The inputs of each batch, and how many rows it has, if that is known."""
    if isinstance(data, Tensor | Mapping) or hasattr(data, "__array__") or _is_tuple_of_inputs(data):
        kept, number = rows_in_memory.inputs_alone(data)
        for at in range(0, number, rows):
            last = min(at + rows, number)
            yield rows_in_memory.cut(kept, at, last), last - at
        return
    if not isinstance(data, Iterable) or isinstance(data, str):
        raise OptionError(
            f"predict takes inputs or batches, not {an(kind_of(data))}: a tensor, Batches or a DataLoader."
        )
    if isinstance(getattr(data, "sampler", None), RandomSampler | WeightedRandomSampler | SubsetRandomSampler):
        warnings.warn(
            "predict gives rows in the order of this DataLoader, which is drawn at random, so nothing says which row is which. "
            "Give it one with shuffle=False.",
            stacklevel=level_of_user(),
        )
    for batch in data.in_order() if isinstance(data, Batches) else data:
        yield _without_targets(forward, batch)


def _is_tuple_of_inputs(data: Any) -> bool:
    return (
        isinstance(data, tuple) and bool(data) and all(isinstance(x, Tensor) or hasattr(x, "__array__") for x in data)
    )


def _without_targets(forward: ForwardPass, batch: Any) -> tuple[Any, int | None]:
    """A batch's inputs: a pair is (inputs, targets), unless the model needs both; anything else has no targets."""
    if not isinstance(batch, tuple | list):
        return batch, None
    if len(batch) == 1:
        return batch[0], None
    if len(batch) > 2:
        return batch, None
    inputs, targets = batch
    plain = not isinstance(inputs, tuple | list | Mapping)
    if plain and positional_arguments(forward.model)[0] >= 2:
        return batch, None
    return inputs, row_count(targets)
