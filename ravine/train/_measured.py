"""One measure on its way over the batches: added up by rows or by weights, computed on all rows, or by an object."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from ravine._line_of_user import level_of_user
from ravine.errors import RavineError, TrainingError
from ravine.train import _loss_errors as loss_errors
from ravine.train import _parallel as parallel
from ravine.train._all_rows import AllRows, stacked
from ravine.train._forward import row_count
from ravine.train._mean_weights import weighed
from ravine.train._metrics import accuracy, collects, default_accuracy
from ravine.train._outputs import described, logits_in, tensors_in

_MEANS_OVER_ROWS = (accuracy, default_accuracy)
_SAME = 1e-5  # relative: the same number, added up in another order in float32


class Measured:
    """A loss or metric, and what it has given so far.

    Args:
        what: its name in an error, such as ``metric 'f1'``.
        measure: a function of outputs and targets, or an object that collects them.
        device: where the model's outputs are.

    Attributes:
        is_known: whether what it is the mean over is known, so that no row has to be kept.
    """

    def __init__(self, what: str, measure: Any, device: torch.device) -> None:
        self.what, self._device = what, device
        self.measure = measure
        self._object = self.measure if collects(measure) else None
        self.is_known = self._object is not None or measure in _MEANS_OVER_ROWS
        self._by_rows, self._rows = torch.zeros((), dtype=torch.float64, device=device), 0
        self._by_weights, self._weights = torch.zeros_like(self._by_rows), torch.zeros_like(self._by_rows)
        self._failure: Exception | None = None
        self._begun = False
        if self._object is not None:
            self._object.reset()
            if hasattr(self._object, "to"):
                self._object.to(device)

    def add(self, outputs: Any, targets: Any, rows: int) -> None:
        """Measure a batch. What it raises is raised at the end, if it cannot be computed on all rows either."""
        self._rows += rows
        try:
            if self._object is not None:
                self._object.update(_for_object(outputs), targets)
                return
            given, weight = weighed(self.measure, outputs, targets)
            value = self._number(given)
        except Exception as error:
            failure = self._explained(error, outputs, targets)
            if self._object is not None:
                raise failure from error
            if self.measure is default_accuracy and not isinstance(outputs, Tensor):
                warnings.warn(f"No accuracy is shown: {failure}", stacklevel=level_of_user())
            self._failure = self._failure or failure
            self._failure.__cause__ = self._failure.__cause__ or (error if failure is not error else None)
            self.is_known = False
            return
        self._by_rows += value * rows
        if self.measure in _MEANS_OVER_ROWS:
            weight = rows
        if not self._begun:
            self.is_known, self._begun = weight is not None and self._failure is None, True
        elif weight is None:
            self.is_known = False
        if weight is not None:
            weight = torch.as_tensor(weight, dtype=torch.float64, device=self._device)
            self._by_weights += torch.where(weight == 0, torch.zeros_like(value), value * weight)
            self._weights += weight

    def result(self, whole: tuple[Any, Any] | None, kept: AllRows) -> float | None:
        """The measure over all rows of all processes; ``whole`` has outputs and targets of all, if they were kept.

        None if it is an accuracy that nobody asked for, and there is none.

        Raises:
            TrainingError: it raised, or gave something other than a number.
        """
        if self._object is not None:
            return float(self._number(self._object.compute()))
        by_rows, rows, by_weights, weights, unknown, failed = parallel.sums(
            [
                self._by_rows,
                float(self._rows),
                self._by_weights,
                self._weights,
                float(not self.is_known),
                float(self._failure is not None),
            ],
            self._device,
        )
        if failed and self.measure is default_accuracy:
            return None
        mean = by_rows / rows
        if not unknown:
            weighted = by_weights / weights if weights else math.nan
            return mean if _same(mean, weighted) else weighted
        if whole is None:
            if failed:
                raise self._failure or TrainingError(f"The {self.what} failed in another process.")
            self._warn_of_batches(kept)
            return mean
        try:
            value = float(self._number(self.measure(*whole)))
        except Exception as error:
            raise self._failure or self._explained(error, *whole) from error
        return mean if not failed and _same(mean, value) else value

    def _warn_of_batches(self, kept: AllRows) -> None:
        """Say so if it is not a mean over rows, and there was no memory for all rows."""
        both = stacked(kept.sample) if len(kept.sample) == 2 else None
        if both is None:
            return
        rows = [row_count(targets) for _, targets in kept.sample]
        values = [float(self._number(self.measure(*batch))) for batch in kept.sample]
        mean = sum(v * n for v, n in zip(values, rows, strict=True)) / sum(rows)
        if not _same(mean, float(self._number(self.measure(*both)))):
            warnings.warn(
                f"The {self.what} is not a mean over rows, and the model's outputs for all rows take too much memory to keep: it is "
                "shown as the mean of the batches' values. Give an object with update, compute and reset, as torchmetrics "
                "has them.",
                stacklevel=level_of_user(),
            )

    def _explained(self, error: Exception, outputs: Any, targets: Any) -> Exception:
        if isinstance(error, RavineError):
            return error
        explained = loss_errors.of_loss(error, self.measure, outputs, targets) if self.what == "loss" else None
        hint = (
            ""
            if self.what == "loss" or isinstance(outputs, Tensor)
            else f" The model's outputs are {described(outputs)}."
        )
        return explained or TrainingError(f"The {self.what} raised {type(error).__name__}: {error}{hint}")

    def _number(self, given: Any) -> Tensor:
        try:
            value = torch.as_tensor(given, dtype=torch.float64 if isinstance(given, float) else None)
        except (TypeError, ValueError, RuntimeError):
            raise TrainingError(f"The {self.what} is {described(given)}; it must be one number.") from None
        if value.numel() != 1:
            raise TrainingError(
                f"The {self.what} has shape {tuple(value.shape)}; it must be one number, a mean over rows."
            )
        return value.detach().to(self._device).double().reshape(())


def _for_object(outputs: Any) -> Any:
    """What an object's ``update`` is given of a model's outputs: of several those called logits, if there are any."""
    if isinstance(outputs, Tensor):
        return outputs
    tensors = tensors_in(outputs)
    return outputs if (written := logits_in(tensors)) is None else tensors[written]


def _same(one: float, other: float) -> bool:
    """Whether two numbers are the same up to rounding; NaN is the same as NaN."""
    return one == other or abs(one - other) <= _SAME * max(abs(one), abs(other)) or (one != one and other != other)
