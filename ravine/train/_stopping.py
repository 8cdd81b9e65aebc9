"""Callbacks that act on how training goes: early stopping, stopping at a NaN, keeping the best checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ravine._files import checkpoint
from ravine._whole_numbers import whole
from ravine.errors import OptionError, shown
from ravine.train._arguments_of_others import answers
from ravine.train._callback import Callback, check_column
from ravine.train._data_content import nonfinite, nonfinite_in_batch
from ravine.train._fit import Fit
from ravine.train._metrics import lower_is_better


class _BestValue(Callback):
    """Tracks the best value of a column of the table. A loss is better when lower, anything else when higher."""

    def __init__(self, monitor: str, mode: str | None) -> None:
        if mode not in (None, "min", "max"):
            raise OptionError(f"{type(self).__name__}: mode {mode!r} is neither 'min' nor 'max'.")
        if not isinstance(monitor, str):
            raise OptionError(
                f"{type(self).__name__}: monitor {shown(monitor)} is not the name of a column of the table, such as 'valid_loss'."
            )
        self.monitor = monitor
        self.mode = mode or ("min" if lower_is_better(monitor) else "max")
        self._start()

    def _start(self) -> None:
        self.best, self.best_epoch = (math.inf if self.mode == "min" else -math.inf), 0

    def before_fit(self, fit: Fit) -> None:
        check_column(self, fit, self.monitor)
        self._start()

    def improved(self, fit: Fit, by: float = 0.0) -> bool:
        """Whether this epoch is the best so far by more than ``by``; NaN never is."""
        value = float(fit.row[self.monitor])
        better = value < self.best - by if self.mode == "min" else value > self.best + by
        if better:
            self.best, self.best_epoch = value, fit.state.epoch
        return better

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(_BestValue):
    """Ends the fit when a column has not improved for a number of epochs.

    Args:
        patience: how many epochs in a row without improvement end the fit, at least 1.
        monitor: a column of the table.
        min_delta: what an improvement must exceed.
        mode: ``"min"`` or ``"max"``; None takes min for a loss or an error and max for anything else.
    """

    @answers
    def __init__(
        self, patience: int = 3, monitor: str = "valid_loss", *, min_delta: float = 0.0, mode: str | None = None
    ) -> None:
        epochs = whole(patience)
        if epochs is None or epochs < 1:
            raise OptionError(f"EarlyStopping: patience {patience!r} is not a number of epochs, at least 1.")
        if not isinstance(min_delta, int | float) or not 0 <= min_delta < math.inf:
            raise OptionError(f"EarlyStopping: min_delta {min_delta!r} is not a number, 0 or above.")
        super().__init__(monitor, mode)
        self.patience, self.min_delta = epochs, min_delta

    def __repr__(self) -> str:
        return f"EarlyStopping({self.patience}, {self.monitor!r})"

    def after_epoch(self, fit: Fit) -> None:
        if self.improved(fit, self.min_delta):
            return
        waited = fit.state.epoch - self.best_epoch
        if waited >= self.patience:
            best = f"; the best was {self.best:.6g} in epoch {self.best_epoch}" if self.best_epoch else ""
            nan = math.isnan(float(fit.row[self.monitor]))
            if nan and (in_data := nonfinite(fit.valid)):
                best += f". The validation data have NaN or infinity in the {in_data}"
            fit.stop(
                f"epoch {fit.state.epoch}: {self.monitor} {'is nan and ' * nan}has not improved for {waited} "
                f"{'epoch' if waited == 1 else 'epochs'}: stopped{best}"
            )


class StopOnNaN(Callback):
    """Ends the fit as soon as the loss of a batch is not finite; the step of that batch is skipped."""

    def after_loss(self, fit: Fit) -> None:
        value = float(fit.loss)
        if not math.isfinite(value):
            in_data = nonfinite_in_batch(fit.inputs, fit.targets, fit.train)
            cause = f". The data are the reason: this batch has NaN or infinity in its {in_data}" if in_data else ""
            fit.stop(f"epoch {fit.state.epoch}, step {len(fit.recorder) + 1}: the loss is {value}: stopped{cause}")

    def before_step(self, fit: Fit) -> bool | None:
        return None if math.isfinite(float(fit.loss)) else False


class BestCheckpoint(_BestValue):
    """Keeps the weights of the best epoch, and restores them when the fit ends.

    If the Learner has a folder, they are also written to ``best.safetensors`` there.

    Args:
        monitor: a column of the table.
        mode: ``"min"`` or ``"max"``; None takes min for a loss or an error and max for anything else.
        restore: whether the model gets the best weights after the fit; else it has the last ones.
    """

    order: ClassVar[int] = 10
    #: The file that it writes in the Learner's folder.
    FILE: ClassVar[str] = "best.safetensors"

    @answers
    def __init__(self, monitor: str = "valid_loss", *, mode: str | None = None, restore: bool = True) -> None:
        super().__init__(monitor, mode)
        self.restore = restore
        self._weights: dict[str, Tensor] = {}

    def __repr__(self) -> str:
        return f"BestCheckpoint({self.monitor!r})"

    def _start(self) -> None:
        super()._start()
        self._weights = {}

    def after_epoch(self, fit: Fit) -> None:
        if not self.improved(fit):
            return
        weights = {name: value.detach() for name, value in fit.model.state_dict().items()}
        if self.restore:
            self._weights = {name: value.clone() for name, value in weights.items()}
        if fit.folder is not None and fit.is_main:
            kept = {"epoch": fit.state.epoch, self.monitor: self.best, "model": weights}
            checkpoint.save(Path(fit.folder) / self.FILE, kept)

    def after_fit(self, fit: Fit) -> None:
        if self.restore and self._weights:
            fit.model.load_state_dict(self._weights)
        self._weights = {}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._weights = dict(state["weights"])
