"""What torch says where a batch does not fit a model, in the words of whoever has made the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import TrainingError, kind_of
from ravine.train import _rows as rows

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
                f"{_name(wanted)} inputs, inputs.{_method(wanted)}(). torch says: {said}"
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


def of_loss(error: Exception, outputs: Any, targets: Any) -> TrainingError | None:
    """Why the loss could not be computed or differentiated; None where torch's own words are as good."""
    if isinstance(error, TrainingError) or not any(words in str(error) for words in _OF_DTYPES):
        return None
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or outputs.dtype == targets.dtype:
        return None
    classes = targets.shape == outputs.shape[:1] + outputs.shape[2:]
    if targets.is_floating_point() and not classes:
        advice = f"give {_name(outputs.dtype)} targets, targets.{_method(outputs.dtype)}()"
    else:
        advice = (
            "classes, as cross_entropy takes them, are int64, targets.long(); numbers, as mse_loss takes them, "
            f"{_name(outputs.dtype)}, targets.{_method(outputs.dtype)}()"
        )
    return TrainingError(
        f"The targets are {_name(targets.dtype)}, and the model's outputs {_name(outputs.dtype)}: {advice}. "
        f"torch says: {error}"
    )


def _others(inputs: Any, wanted: torch.dtype | None) -> str:
    """The first dtype among the inputs' that is another float than the model's."""
    for name, leaf in rows.leaves(inputs):
        if (leaf.is_floating_point() and leaf.dtype != wanted) or leaf.dtype in (torch.uint8, torch.int32, torch.int64):
            return f"{_name(leaf.dtype)}{f' (at {name})' * bool(name)}"
    return ""


def _name(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")


def _method(dtype: torch.dtype | None) -> str:
    return {torch.float32: "float", torch.float64: "double", torch.float16: "half"}.get(dtype, "bfloat16")  # type: ignore[arg-type]
