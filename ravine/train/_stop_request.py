"""A training that somebody else may stop as Ctrl-C would: by a file in its folder. ``ravine live --control`` makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import ClassVar

from ravine import _files as files
from ravine.train import _parallel as parallel
from ravine.train._callback import Callback
from ravine.train._fit import Fit

STOP = "stop"
"""The file of a run's folder that asks for the end."""

_EVERY = 0.5  # seconds between two looks for it


def request_stop(folder: Path) -> None:
    """Ask the training that writes to this folder to stop after its step.

    Raises:
        OptionError: the folder cannot be written.
    """
    files.write(folder / STOP, b"")


class StopRequest(Callback):
    """Looks for the file, and does what Ctrl-C does: the step is finished, a checkpoint written, and the run can go on.

    Args:
        clock: seconds since some moment.
    """

    passive: ClassVar[bool] = True

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock, self._due = clock, float("inf")

    def before_fit(self, fit: Fit) -> None:
        if fit.folder is None or not parallel.is_main():
            return
        (fit.folder / STOP).unlink(missing_ok=True)  # asked of a fit that has ended
        self._due = self._clock()

    def after_batch(self, fit: Fit) -> None:
        if (now := self._clock()) < self._due or fit.folder is None:
            return
        self._due = now + _EVERY
        path = fit.folder / STOP
        if not path.exists():
            return
        path.unlink(missing_ok=True)
        # No signal: what a shell starts in the background ignores it. One of several processes must not stop alone.
        if parallel.size() > 1:
            fit.interrupt.asked = True
        else:
            fit.interrupt.pressed = True
