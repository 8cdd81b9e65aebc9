"""What torch says where a batch does not fit a model, in the words of whoever has made it. For losses: _loss_errors.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ravine.errors import TrainingError, kind_of
from ravine.train import _rows as rows
from ravine.train._loss_errors import method

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
    said = str(error)
    if isinstance(error, TypeError) and "forward() " in said and "argument" in said:
        return TrainingError(
            f"The inputs of a batch, a {kind_of(inputs)}, do not fit the arguments of {type(model).__name__}: {said}. A tuple "
            "of inputs becomes the model's arguments, a dict its named arguments; a list that is one argument is the "
            "only element of a tuple: ([picture, picture],)."
        )
    if ONE_ROW in said:
        return one_row(error)
    if "for argument #1 'indices'" in said:
        return TrainingError(
            f"The rows that an Embedding is asked for are int64: give it inputs.long(). torch says: {said}"
        )
    if any(words in said for words in _OF_DTYPES):
        wanted = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
        others = _others(inputs, wanted)
        if others:
            return TrainingError(
                f"The inputs are {others}, and the parameters of {type(model).__name__} {_name(wanted)}: give "
                f"{_name(wanted)} inputs, inputs{method(wanted)}. torch says: {said}"
            )
    return None


def one_row(error: Exception | None = None) -> TrainingError:
    """A layer that normalizes over the batch was given a single row: foreseen, or by what torch says."""
    what = "The last batch of an epoch has 1 row left over" if error is None else "A batch has 1 row"
    where = "" if error is None else "If it is 1 row left over at the end of an epoch: "
    leave = "Leave" if error is None else "leave"
    said = "" if error is None else f" torch says: {error}"
    return TrainingError(
        f"{what}, and batch normalization cannot train on a batch of one row. {where}{leave} it out, Batches(..., drop_last=True), "
        f"Task(..., drop_last=True) or DataLoader(..., drop_last=True), or choose another batch_size.{said}"
    )


def _others(inputs: Any, wanted: torch.dtype | None) -> str:
    """The first dtype among the inputs' that is another float than the model's."""
    for name, leaf in rows.leaves(inputs):
        if (leaf.is_floating_point() and leaf.dtype != wanted) or leaf.dtype in (torch.uint8, torch.int32, torch.int64):
            return f"{_name(leaf.dtype)}{f' (at {name})' * bool(name)}"
    return ""


def _name(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")
