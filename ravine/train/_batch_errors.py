"""What torch says where a batch does not fit a model, in the words of whoever has made it. For losses: _loss_errors.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ravine.errors import TrainingError, an, kind_of
from ravine.train import _rows as rows
from ravine.train._loss_errors import method

#: What torch says where a layer takes inputs of another shape.
_OF_SHAPES = (
    "shapes cannot be multiplied",
    "channels, but got",
    "size mismatch",
    "Expected 3D",
    "Expected 4D",
    "Expected 2D",
)
#: What torch says where dtypes differ.
_OF_DTYPES = (
    "dtype",
    "scalar type",
    "result type",
    "should be the same",
    '_cpu" not implemented for',
    '_cuda" not implemented for',
)
ONE_ROW = "Expected more than 1 value per channel when training"


def of_model(error: Exception, model: nn.Module, inputs: Any) -> TrainingError | None:
    """Why the model could not take the inputs; None where torch's own words are as good."""
    if isinstance(error, TrainingError):
        return None
    message = str(error)
    if isinstance(error, TypeError) and "forward() " in message and "argument" in message:
        return TrainingError(
            f"The inputs of a batch, {an(kind_of(inputs))}, do not fit the arguments of {type(model).__name__}: {message}. A tuple "
            "of inputs becomes the model's arguments, a dict its named arguments; a list that is one argument is the "
            "only element of a tuple: ([picture, picture],)."
        )
    if ONE_ROW in message:
        return one_row(error)
    if "for argument #1 'indices'" in message:
        return TrainingError(
            f"The rows that an Embedding is asked for are int64: give it inputs.long(). torch says: {message}"
        )
    if "index out of range in self" in message:
        return TrainingError(
            f"The inputs of a batch are {_shapes(inputs)}, and the model's Embedding has fewer rows than they ask for: count from 0, "
            f"or give it more, num_embeddings=largest + 1. torch says: {message}"
        )
    if any(words in message for words in _OF_SHAPES):
        return TrainingError(
            f"The inputs of a batch are {_shapes(inputs)}, and {_layer(error, model, inputs)}. torch says: {message}"
        )
    if any(words in message for words in _OF_DTYPES):
        wanted = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
        others = _others(inputs, wanted)
        if others:
            return TrainingError(
                f"The inputs are {others}, and the parameters of {type(model).__name__} {_name(wanted)}: give "
                f"{_name(wanted)} inputs, inputs{method(wanted)}. torch says: {message}"
            )
    return None


def one_row(error: Exception | None = None) -> TrainingError:
    """A layer that normalizes over the batch was given a single row: foreseen, or by what torch says."""
    what = "The last batch of an epoch has 1 row left over" if error is None else "A batch has 1 row"
    where = "" if error is None else "If it is 1 row left over at the end of an epoch: "
    leave = "Leave" if error is None else "leave"
    message = "" if error is None else f" torch says: {error}"
    return TrainingError(
        f"{what}, and batch normalization cannot train on a batch of one row. {where}{leave} it out, Batches(..., drop_last=True), "
        f"Task(..., drop_last=True) or DataLoader(..., drop_last=True), or choose another batch_size.{message}"
    )


def _shapes(inputs: Any) -> str:
    """The shapes of the inputs, and from where to where whole numbers go."""
    texts = []
    for name, leaf in rows.leaves(inputs):
        ends = f" ({leaf.min().item()} to {leaf.max().item()})" if _is_whole(leaf) and leaf.numel() else ""
        texts.append(f"{_name(leaf.dtype)} of shape {tuple(leaf.shape)}{ends}{f' at {name}' * bool(name)}")
    return " and ".join(texts) or f"{an(kind_of(inputs))}"


def _is_whole(leaf: torch.Tensor) -> bool:
    return not leaf.is_floating_point() and not leaf.is_complex() and leaf.dtype != torch.bool


def _layer(error: Exception, model: nn.Module, inputs: Any) -> str:
    """What the layer that failed takes: found by where the error was raised."""
    failed, trace = model, error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        failed = module if isinstance(module, nn.Module) else failed
        trace = trace.tb_next
    name = next((name for name, module in model.named_modules() if module is failed), "")
    where = f"the model's layer {name}, {failed}," if name else f"the model, {type(failed).__name__},"
    first = next((leaf for _, leaf in rows.leaves(inputs)), None)
    if isinstance(failed, nn.Linear):
        flat = first is not None and first.ndim > 2 and first[0].numel() == failed.in_features
        hint = "begin the model with torch.nn.Flatten()" if flat else "in_features is the length of a row there"
        return f"{where} takes rows of {failed.in_features} numbers: {hint}"
    if isinstance(failed, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        wanted = "(rows, channels, ...)"
        last = first is not None and first.ndim > 2 and first.shape[-1] == failed.in_channels
        hint = "; channels are last here: inputs.movedim(-1, 1)" if last else ""
        return f"{where} takes {wanted} with {failed.in_channels} channel{'s' * (failed.in_channels > 1)}{hint}"
    return f"{where} cannot take what comes to it"


def _others(inputs: Any, wanted: torch.dtype | None) -> str:
    """The first dtype among the inputs' that is another float than the model's."""
    for name, leaf in rows.leaves(inputs):
        if (leaf.is_floating_point() and leaf.dtype != wanted) or leaf.dtype in (
            torch.bool,
            torch.uint8,
            torch.int8,
            torch.int16,
            torch.int32,
            torch.int64,
        ):
            return f"{_name(leaf.dtype)}{f' (at {name})' * bool(name)}"
    return ""


def _name(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")
