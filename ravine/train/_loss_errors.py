"""What torch says where outputs and targets do not fit a loss, in the words of whoever has made them: what to write."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import RavineError, TrainingError, shown
from ravine.train._outputs import described, logits_in, tensors_in
from ravine.train._rows import NAMES_OF_CLASSES

#: What torch says where a loss wants class indices.
_WANTS_CLASSES = (
    "to be Long",
    "scalar type Long",
    "multi-target not supported",
    "nll_loss",
    "with class probabilities",
    "spatial targets",
)
_SIZES_DIFFER = (
    "Target size",
    "must match the size",
    "same size",
    "same shape",
    "size mismatch",
    "Expected target size",
    "input batch_size",
    "batch sizes",
    "invalid target",
)
_DTYPES_DIFFER = (
    "dtype",
    "scalar type",
    "result type",
    "should be the same",
    "not implemented for",
    "two bool tensors",
    "Integral",
)


def of_loss(error: Exception, loss: Any, outputs: Any, targets: Any) -> TrainingError | None:
    """Why the loss could not be computed or differentiated; None where torch's own words are as good."""
    if isinstance(error, RavineError):
        return None
    if not isinstance(outputs, Tensor):
        return _of_outputs(error, loss, outputs)
    message = str(error)
    if isinstance(error, TypeError) and "positional argument" in message:
        return TrainingError(
            f"{_the(loss)} raised TypeError: {message}. A loss is called with two arguments, loss(outputs, targets); one that takes "
            "others is wrapped in a function of these two."
        )
    if not isinstance(targets, Tensor):
        texts = isinstance(targets, tuple | list) and any(isinstance(one, str) for one in targets)
        message = f"{_the(loss)} cannot take targets that are texts, {shown(targets)}.{NAMES_OF_CLASSES}"
        return TrainingError(message) if texts else None
    advice = _advice(message, outputs, targets)
    if not advice:
        return None
    return TrainingError(
        f"{_the(loss)} cannot take targets that are {_kind(targets)} for outputs that are {_kind(outputs)}: {advice}. "
        f"torch says: {message}"
    )


def _of_outputs(error: Exception, loss: Any, outputs: Any) -> TrainingError | None:
    """The loss was given a dict, a tuple or an object: it must take what it needs from it."""
    if not isinstance(error, TypeError | AttributeError):
        return None
    tensors = tensors_in(outputs)
    example = logits_in(tensors) or next(iter(tensors), "[...]")
    return TrainingError(
        f"{_the(loss)} cannot take the model's outputs, {described(outputs)}. Give a loss that takes what it needs "
        f"from them: lambda outputs, targets: cross_entropy(outputs{example}, targets). "
        f"It raised {type(error).__name__}: {error}"
    )


def _advice(message: str, outputs: Tensor, targets: Tensor) -> str:
    """What to write; empty where that is not known."""
    if "argument 'weight'" in message:
        return "its weights are no tensor, as the targets are: weight=torch.tensor([1.0, 3.0]), a number for each class"
    if "out of bounds" in message:
        return _of_bounds(outputs, targets)
    if "elements of input should be between 0 and 1" in message:
        return (
            "binary_cross_entropy takes probabilities. Use binary_cross_entropy_with_logits (BCEWithLogitsLoss), or end the model "
            "with torch.nn.Sigmoid()"
        )
    if "elements of target should be between 0 and 1" in message:
        low, high = _range(targets)
        return f"the targets of a binary cross entropy are 0 to 1, and these {low} to {high}"
    if "softmax" in message and "Long" in message and outputs.is_floating_point():
        return "a loss is called with the outputs first, loss(outputs, targets), and here the two seem to be exchanged"
    if any(words in message for words in _WANTS_CLASSES):
        return _of_classes(outputs, targets)
    if any(words in message for words in _SIZES_DIFFER):
        return _of_sizes(outputs, targets)
    if any(words in message for words in _DTYPES_DIFFER) and targets.dtype != outputs.dtype:
        return _of_dtypes(outputs, targets)
    return ""


def _of_classes(outputs: Tensor, targets: Tensor) -> str:
    """The loss wants class indices, and the targets are something else."""
    classes = outputs.shape[1] if outputs.ndim > 1 else 1
    to_long = "" if targets.dtype in (torch.int64, torch.uint8) else ".long()"
    if classes == 1:
        return _one_output(targets, outputs)
    per_row = outputs.shape[:1] + outputs.shape[2:]
    if targets.shape == per_row:
        if targets.is_floating_point() and not _are_whole(targets):
            return "class indices are whole numbers, and these are not. For a regression the loss is mse_loss"
        return (
            "class indices are int64, targets.long(), or of NumPy and pandas targets.astype('int64') before the Batches"
        )
    if targets.ndim == outputs.ndim and targets.shape[1] == 1 and targets.shape[:1] + targets.shape[2:] == per_row:
        return f"classes have one dimension less than the outputs, targets.squeeze(1){to_long}"
    if targets.shape == outputs.shape:
        return (
            "one-hot targets are class probabilities in floats, targets.float(), or become classes by targets.argmax(1)"
        )
    if outputs.ndim > 2 and targets.shape == outputs.shape[:-1]:
        return (
            "the classes must be dimension 1 of the outputs: lambda outputs, targets: cross_entropy(outputs.movedim(-1, 1), "
            f"targets{to_long})"
        )
    if targets.ndim == outputs.ndim == 2:
        return (
            f"the model gives {classes} numbers for each row, and a row of the targets has {targets.shape[1]}. Targets are the class of "
            "each row, or a probability for each of the model's outputs"
        )
    return f"class indices have shape {tuple(per_row)} for these outputs, and are int64"


def _of_bounds(outputs: Tensor, targets: Tensor) -> str:
    """A class that the model has no output for."""
    classes = outputs.shape[1] if outputs.ndim > 1 else len(outputs)
    low, high = _range(targets)
    between = f"the model has {classes} outputs, for the classes 0 to {classes - 1}, and in this batch they are {low} to {high}"
    if outputs.ndim > 1 and classes == 1:
        return _one_output(targets, outputs)
    if outputs.ndim > 2 and targets.shape == outputs.shape[:-1]:
        return "the classes must be dimension 1 of the outputs: outputs.movedim(-1, 1)"
    if low >= 1 and high == classes:
        return f"{between}. Do they begin at 1? Then targets - 1"
    if low < 0:
        return f"{between}. Rows without a class are marked by the loss's ignore_index, -100 if it is not given"
    return f"{between}. Let the last layer have an output for each class, at least {high + 1}"


def _one_output(targets: Tensor, outputs: Tensor) -> str:
    return (
        "the model has one output for each row, and a cross entropy over one class is always 0. For two classes it is "
        f"binary_cross_entropy_with_logits (BCEWithLogitsLoss) with {_as_outputs(targets, outputs)}, or a last layer of 2 outputs"
    )


def _of_sizes(outputs: Tensor, targets: Tensor) -> str:
    """Outputs and targets of different shapes, for a loss that compares them element by element."""
    if targets.numel() == outputs.numel():
        return f"give targets of the outputs' shape, {_as_outputs(targets, outputs)}"
    if targets.shape[:1] != outputs.shape[:1]:
        return (
            f"there are {len(outputs) if outputs.ndim else 1} rows of outputs and {len(targets) if targets.ndim else 1} of targets. "
            "Does the model put rows together, as by a view or flatten(0)?"
        )
    if outputs.ndim > 2 and targets.shape == outputs.shape[:-1]:
        return "the classes must be dimension 1 of the outputs: lambda outputs, targets: cross_entropy(outputs.movedim(-1, 1), targets)"
    if targets.ndim == outputs.ndim == 2:
        return f"let the last layer have as many outputs as a row of the targets has numbers, {targets.shape[1]}"
    if targets.ndim == 1 and outputs.ndim == 2 and not targets.is_floating_point():
        return "class indices are for a loss such as cross_entropy"
    return "they must have the same shape"


def _of_dtypes(outputs: Tensor, targets: Tensor) -> str:
    """The same shapes, and dtypes that the loss does not take together."""
    if targets.is_complex() or outputs.is_complex():
        return "give real numbers, such as torch.view_as_real(targets) with a model that gives both parts"
    if targets.shape == outputs.shape and not targets.is_floating_point():
        return f"give {_name(outputs.dtype)} targets, targets{method(outputs.dtype)}"
    classes = targets.shape == outputs.shape[:1] + outputs.shape[2:]
    if targets.is_floating_point() and not classes:
        return f"give {_name(outputs.dtype)} targets, targets{method(outputs.dtype)}"
    if classes and targets.dtype == torch.int64:
        return (
            f"targets of that dtype are what a loss of classes takes, so it holds something that is not {_name(outputs.dtype)}, most likely "
            f"class weights: give it weight{method(outputs.dtype)}. Tensors made of NumPy's numbers are float64"
        )
    return (
        "classes, as cross_entropy takes them, are int64, targets.long(); numbers, as mse_loss takes them, "
        f"{_name(outputs.dtype)}, targets{method(outputs.dtype)}"
    )


def _as_outputs(targets: Tensor, outputs: Tensor) -> str:
    """The targets in the shape and dtype of the outputs, as it is written."""
    shaped = "targets"
    if targets.shape != outputs.shape:
        shaped = "targets[:, None]" if (*targets.shape, 1) == outputs.shape else "targets.view_as(outputs)"
    return shaped + ("" if targets.dtype == outputs.dtype else method(outputs.dtype))


def _range(targets: Tensor) -> tuple[Any, Any]:
    low, high = (x.item() for x in targets.detach().aminmax())
    return (int(low), int(high)) if not targets.is_floating_point() or _are_whole(targets) else (low, high)


def _are_whole(targets: Tensor) -> bool:
    return bool((targets == targets.floor()).all())


def _the(loss: Any) -> str:
    """The loss as the sentence's subject, with its name where it has one."""
    inner = loss.func if isinstance(loss, functools.partial) else loss
    name = type(inner).__name__ if isinstance(inner, nn.Module) else getattr(inner, "__name__", "")
    return f"The loss {name}" if name and name != "<lambda>" else "The loss"


def _kind(tensor: Tensor) -> str:
    return f"{_name(tensor.dtype)} of shape {tuple(tensor.shape)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def method(dtype: torch.dtype | None) -> str:
    """How a tensor is made that: ``.float()``."""
    names = {torch.float32: "float", torch.float64: "double", torch.float16: "half"}
    return f".{names.get(dtype, 'bfloat16')}()"  # type: ignore[arg-type]
