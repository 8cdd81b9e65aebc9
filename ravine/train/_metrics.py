"""Metrics: functions from a model's outputs and targets to one number, or objects that collect them."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ravine import _randomness as randomness
from ravine.errors import OptionError, TrainingError, an, kind_of, shown
from ravine.train._batches import Batches
from ravine.train._data_order import random_states, restore
from ravine.train._outputs import described, logits_in, tensors_in

Measure = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets to one number, the mean over the rows."""


def collects(metric: Any) -> bool:
    """Whether it is an object that collects batches and computes its number at the end, as those of torchmetrics do."""
    return not isinstance(metric, type) and all(
        callable(getattr(metric, name, None)) for name in ("reset", "update", "compute")
    )


TABLE_COLUMNS = ("epoch", "train_loss", "valid_loss", "time")


def accuracy(outputs: Any, targets: Tensor) -> Tensor:
    """The fraction of predictions that are right: the largest output along dimension 1 is the target class's.

    ``outputs`` has shape (rows, classes, ...), ``targets`` (rows, ...) as for ``cross_entropy``. Of a dict, a tuple or an
    object of outputs it takes what is called ``logits``, or else the only tensor that has such a shape.

    Raises:
        TrainingError: these shapes do not fit each other, there is only one class, or several tensors of the outputs do.
    """
    if not isinstance(outputs, Tensor):
        outputs = _logits(outputs, targets)
    if not isinstance(targets, Tensor) or not _fit(outputs, targets):
        have = str(tuple(targets.shape)) if isinstance(targets, Tensor) else f"{an(kind_of(targets))}"
        one = outputs.ndim > 1 and outputs.shape[1] == 1
        hint = " For one logit in each row: lambda outputs, targets: (outputs.flatten() > 0).eq(targets.flatten()).float().mean()."
        raise TrainingError(
            f"accuracy compares outputs of shape (rows, classes, ...) with classes of shape (rows, ...), but these are "
            f"{tuple(outputs.shape)} and {have}. Choose other metrics: Learner(..., metrics=[]).{hint * one}"
        )
    return (outputs.argmax(dim=1) == targets).float().mean()


def default_accuracy(outputs: Any, targets: Any) -> Tensor:
    """The accuracy where nobody asked for metrics: it is left out where outputs and targets have no such shapes."""
    return accuracy(outputs, targets)


def _fit(outputs: Tensor, targets: Tensor) -> bool:
    return outputs.ndim >= 2 and outputs.shape[1] > 1 and outputs.shape[:1] + outputs.shape[2:] == targets.shape


def _logits(outputs: Any, targets: Any) -> Tensor:
    """The tensor among a model's outputs that has a number for each class."""
    tensors = tensors_in(outputs)
    if (written := logits_in(tensors)) is not None:
        return tensors[written]
    fitting = [written for written, tensor in tensors.items() if isinstance(targets, Tensor) and _fit(tensor, targets)]
    if len(fitting) == 1:
        return tensors[fitting[0]]
    example = fitting[0] if fitting else next(iter(tensors), "[...]")
    raise TrainingError(
        f"accuracy compares a tensor of shape (rows, classes, ...) with the classes, and the model's outputs are "
        f"{described(outputs)}, where {'several' if fitting else 'none'} may be meant. Say which: Learner(..., "
        f'metrics={{"accuracy": lambda outputs, targets: accuracy(outputs{example}, targets)}}), with '
        "ravine.train.accuracy; or metrics=[] for none."
    )


def named(metrics: Mapping[str, Measure] | Sequence[Measure]) -> dict[str, Measure]:
    """Metrics by name: a mapping as it is, functions by their own names, and a collection as torchmetrics has it by its names.

    Raises:
        OptionError: it is not a sequence, something in it cannot be called, or two have the same name.
    """
    by_name: dict[str, Measure] = {}
    if isinstance(metrics, Mapping):
        for name, metric in metrics.items():
            by_name |= {f"{name}_{part}": one for part, one in _collected(metric).items()} or {name: metric}
    else:
        given: Any = [metrics] if _collected(metrics) else metrics
        if isinstance(given, str) or not isinstance(given, Sequence):
            one = getattr(metrics, "__name__", "accuracy")
            raise OptionError(f"metrics is {shown(metrics)}; give a list, metrics=[{one}], or {{name: function, ...}}.")
        for metric in given:
            _refuse_text(metric)
            for name, one in (_collected(metric) or {_name_of(metric): metric}).items():
                if name in by_name:
                    raise OptionError(f"Two metrics have the name {name!r}; give them as {{name: function, ...}}.")
                by_name[name] = one
    for name, metric in by_name.items():
        if isinstance(metric, type) and hasattr(metric, "compute"):
            raise OptionError(f"The metric {name!r} is a class; make an instance: {metric.__name__}(...).")
        _refuse_text(metric)
        if not callable(metric) and not collects(metric):
            raise OptionError(f"The metric {name!r} is {shown(metric)}; a metric is a function of outputs and targets.")
        refuse_swapped(metric, f"The metric {name!r}", f"metrics={{{name!r}: ", "}")
        if name in TABLE_COLUMNS:
            raise OptionError(f"A metric cannot have the name {name!r}: it is a column of its own.")
    return by_name


_LOWER = ["err", "mape", "perplexity", "ppl", "nll", "bce", "brier", "wer", "cer", "deviance", "divergence", "distance"]


def lower_is_better(name: str) -> bool:
    """Whether a number of this name is better if it is lower: a loss or an error; anything else is better if it is higher."""
    words = re.split("[^a-z]+", name.lower())
    return any(word in _LOWER or word.endswith(("loss", "error", "errors", "mse", "mae")) for word in words)


def _refuse_text(metric: object) -> None:
    if isinstance(metric, str):
        raise OptionError(
            f"The metric {metric!r} is a text; a metric is a function of outputs and targets, such as ravine.train.accuracy."
        )


_TRUE = ("y_true", "true", "target", "targets", "label", "labels", "truth", "ground_truth")
_FOUND = (
    "y_pred", "y_score", "y_prob", "y_proba", "y_hat", "pred", "preds", "prediction", "predictions", "predicted", "output", "outputs",
    "logits", "probas_pred",
)  # fmt: skip
"""What the first two arguments are called by those who put the targets first, as scikit-learn and Keras do."""


def refuse_swapped(function: object, what: str, before: str = "", after: str = "") -> None:
    """Refuse a metric or a loss that takes targets before outputs: it would be given them the other way round.

    Raises:
        OptionError: by the names of its arguments it does.
    """
    if isinstance(function, type) or collects(function):
        return
    function = function.forward if isinstance(function, nn.Module) else function
    try:
        first, second, *_ = inspect.signature(function).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # too few arguments, or a function that does not tell
        return
    if first.lower() not in _TRUE or second.lower() not in _FOUND:
        return
    inner = function.func if isinstance(function, functools.partial) else function
    name = getattr(inner, "__name__", type(inner).__name__)
    name = "f" if name in ("<lambda>", "forward") else name
    of_classes = " Functions of scikit-learn want classes or probabilities: outputs.argmax(1) or outputs.softmax(1)."
    raise OptionError(
        f"{what} takes ({first}, {second}), and Ravine gives outputs first: write {before}lambda outputs, targets: "
        f"{name}(targets, outputs){after}.{of_classes * bool(after)}"
    )


def _name_of(metric: Any) -> str:
    name = getattr(metric, "__name__", None)
    return name if isinstance(name, str) and name else type(metric).__name__


def _collected(metric: Any) -> dict[str, Measure]:
    """The metrics of a collection, by name; none of anything else."""
    if isinstance(metric, type | Mapping) or not collects(metric) or not callable(getattr(metric, "items", None)):
        return {}
    return dict(metric.items())


def default_metrics(data: Iterable[Any]) -> dict[str, Measure]:
    """The accuracy, if the first targets of the data are class indices as ``cross_entropy`` takes them; else none.

    The data and the random states are afterwards as they were.
    """
    states = random_states(data)
    try:
        with randomness.isolated():
            targets = _first_targets(data)
    except Exception:  # an error of the data is raised where the data is used
        return {}
    finally:
        restore(states, data)
    return {"accuracy": default_accuracy} if _are_class_indices(targets) else {}


def _first_targets(data: Iterable[Any]) -> Any:
    """Targets of the first batch or, where a DataLoader would start processes for it, of the first row, put together."""
    if isinstance(data, Batches):
        return data.targets
    if isinstance(data, DataLoader):
        rows: Any = data.dataset
        row = next(iter(rows)) if isinstance(rows, IterableDataset) else rows[0]
        _, targets = data.collate_fn([row] if data.batch_sampler is not None else row)
    else:
        _, targets = next(iter(data))
    return targets


def _are_class_indices(targets: Any) -> bool:
    if isinstance(targets, Tensor):
        return targets.dtype == torch.int64
    if isinstance(targets, np.ndarray | np.generic):
        return targets.dtype == np.int64
    return isinstance(targets, int) and not isinstance(targets, bool)
