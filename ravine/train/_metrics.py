"""Metrics: functions from a model's outputs and targets to one number, a mean over their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from ravine.errors import OptionError, TrainingError

Measure = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets to one number, the mean over the rows."""

TABLE_COLUMNS = ("epoch", "train_loss", "valid_loss", "time")


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The fraction of predictions that are right: the largest output along dimension 1 is the target class's.

    ``outputs`` has shape (rows, classes, ...), ``targets`` (rows, ...) as for ``cross_entropy``.

    Raises:
        TrainingError: these shapes do not fit each other.
    """
    if outputs.ndim < 2 or outputs.shape[:1] + outputs.shape[2:] != targets.shape:
        raise TrainingError(
            f"accuracy compares outputs of shape (rows, classes, ...) with classes of shape (rows, ...), but these are "
            f"{tuple(outputs.shape)} and {tuple(targets.shape)}. Choose other metrics: Learner(..., metrics=[])."
        )
    return (outputs.argmax(dim=1) == targets).float().mean()


def named(metrics: Mapping[str, Measure] | Sequence[Measure]) -> dict[str, Measure]:
    """Metrics by name: a mapping as it is, functions by their own names.

    Raises:
        OptionError: it is not a sequence, something in it cannot be called, or two have the same name.
    """
    if isinstance(metrics, Mapping):
        by_name = dict(metrics)
    else:
        if isinstance(metrics, str) or not isinstance(metrics, Sequence):
            raise OptionError(f"metrics is {metrics!r}; give a list of functions, or {{name: function, ...}}.")
        by_name = {}
        for metric in metrics:
            name = getattr(metric, "__name__", None) or type(metric).__name__
            if name in by_name:
                raise OptionError(f"Two metrics have the name {name!r}; give them as {{name: function, ...}}.")
            by_name[name] = metric
    for name, metric in by_name.items():
        if not callable(metric):
            raise OptionError(f"The metric {name!r} is {metric!r}; a metric is a function of outputs and targets.")
        if name in TABLE_COLUMNS:
            raise OptionError(f"A metric cannot have the name {name!r}: it is a column of its own.")
    return by_name
