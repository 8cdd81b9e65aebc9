"""What a fit leaves of its beginning and its end in the run's file, for those who look at it while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ravine.train._fit import Fit


@contextmanager
def announced(fit: Fit) -> Iterator[None]:
    """Record how long the fit will be and where it begins, and afterwards how it ended.

    Without this a file that no longer grows could be of a run that is done, that was killed, or that validates.
    """
    state = fit.state
    fit.recorder.fit_begins(
        epochs=state.epochs,
        epoch=state.epoch,
        batch=state.batch,
        batches=fit.batches,
        optimizer=type(fit.optimizer).__name__,
        at=round(time.time(), 3),
    )
    try:
        yield
    except BaseException as error:
        how, text = ("interrupted", "") if isinstance(error, KeyboardInterrupt) else ("failed", _first_line(error))
        # what ended the fit is what is raised; the loop's end writes once more, and says what fails then
        with suppress(Exception):
            fit.recorder.fit_ends(how, text)
        raise
    fit.recorder.fit_ends("stopped" if state.stop_reason else "done", state.stop_reason)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
