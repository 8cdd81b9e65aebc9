"""Writes the recorder's numbers for TensorBoard. Needs the package ``tensorboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ravine.errors import OptionError, PackageError
from ravine.train._callback import Callback
from ravine.train._fit import Fit


class TensorBoard(Callback):
    """Writes losses, hyperparameters and metrics for TensorBoard: by step ``loss`` and every hyperparameter, by
    epoch every column of the table.

    Args:
        folder: where to write; None: ``tensorboard`` in the Learner's folder.
        every: steps between two points of a curve.
    """

    order: ClassVar[int] = 50

    def __init__(self, folder: Path | str | None = None, *, every: int = 20) -> None:
        if not isinstance(every, int) or every < 1:
            raise OptionError(f"TensorBoard: every {every!r} is not a number of steps, at least 1.")
        self.folder, self.every = folder, every
        self._writer: Any = None

    def __repr__(self) -> str:
        return f"TensorBoard({self.folder!r})"

    def before_fit(self, fit: Fit) -> None:
        folder = self.folder or (fit.folder and fit.folder / "tensorboard")
        if folder is None:
            raise OptionError("TensorBoard needs a folder: TensorBoard('runs/first') or Learner(..., folder=...).")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise PackageError("TensorBoard is not installed: pip install tensorboard", name="tensorboard") from error
        if fit.is_main:
            self._writer = SummaryWriter(str(folder))

    def after_batch(self, fit: Fit) -> None:
        step = len(fit.recorder)
        if self._writer is None or step % self.every:
            return
        self._writer.add_scalar("train/loss", float(fit.loss), step)
        for name, value in fit.recorder.last_hypers().items():
            numbers = value if isinstance(value, tuple) else (value,)
            for index, number in enumerate(numbers):
                self._writer.add_scalar(f"hyper/{name}" + (f"[{index}]" if len(numbers) > 1 else ""), number, step)

    def after_epoch(self, fit: Fit) -> None:
        if self._writer is None:
            return
        epoch = len(fit.recorder.epochs)  # over all fits, so that a second one continues where the first ended
        for name, value in fit.row.items():
            if name != "epoch":
                self._writer.add_scalar(f"epoch/{name}", value, epoch)
        self._writer.flush()

    def after_fit(self, fit: Fit) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
