"""The contract of displays: what a training reports while it runs. This base shows nothing.

Knows no model, no file and no terminal; displays are given plain numbers and finished sentences.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from ravine._line_of_user import level_of_user


def warn_failed(error: OSError) -> None:
    """Warn that the output cannot be written: no reason to end a long training."""
    warnings.warn(
        f"The training continues, but can no longer be shown: {error}.", RuntimeWarning, stacklevel=level_of_user()
    )


class Display:
    """Shows nothing: the display of a quiet training, and the base of the others.

    A training calls ``begin``, then for each epoch ``epoch_begins``, ``progress`` whenever ``wants`` is true,
    ``validating`` and ``row``, and at last ``end``, whatever happened. ``say`` may come at any time.
    """

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        """A training begins.

        Args:
            columns: the names over the table: ``epoch`` holds whole numbers, ``time`` seconds, others any numbers.
            epochs: the number of the last epoch.
            first: the number of the first epoch of this run, more than 1 where a run is resumed.
        """

    def follow(self, losses: Callable[[int], Sequence[float]], done: int) -> None:
        """Where the losses can be had, for a display with a curve; called before ``begin``.

        Args:
            losses: gives those of the steps of this run from a number on, counted from 0, as far as there are any.
            done: how many batches of the first epoch were done before: more than 0 where a run is resumed in its middle.
        """

    def count(self, title: str, total: int) -> None:
        """Instead of ``begin``: ``total`` batches without epochs or a table."""

    def epoch_begins(self, epoch: int, batches: int | None) -> None:
        """Epoch number ``epoch`` begins; it has ``batches`` batches, None where that is not known."""

    def wants(self) -> bool:
        """Whether it is time for ``progress``. Asked after every batch, so it must be cheap."""
        return False

    def progress(self, done: int, loss: float | None = None, lr: float | None = None) -> None:
        """``done`` batches of this epoch are done, with this loss and learning rate."""

    def validating(self) -> None:
        """The epoch's batches are done, and the model is being validated."""

    def columns(self, columns: Sequence[str]) -> None:
        """From here on the table has these columns: a callback has added one."""

    def row(self, cells: Sequence[object]) -> None:
        """An epoch is done: one cell for each column, seconds under ``time``."""

    def say(self, sentence: str) -> None:
        """Show a sentence below the rows so far."""

    def answer(self, sentence: str) -> None:
        """How the training ended, in a sentence, the most important one: where output can be redrawn it stands first."""
        self.say(sentence)

    def end(self) -> None:
        """The training has ended: restore the cursor and the output."""
