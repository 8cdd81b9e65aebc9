"""Ctrl-C that waits for the end of a step, so that a checkpoint is never half a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was pressed.

    Attributes:
        pressed: the fit ends after this batch.
        asked: this process was asked to end the fit; of several that train together, all know it after the next batch.
    """

    pressed = False
    asked = False


class StoppedTogether(KeyboardInterrupt):
    """Processes that train one model have all ended after the same batch, as one of them was asked to."""


@contextmanager
def deferred(wanted: bool = True) -> Iterator[Interrupt]:
    """Note the first Ctrl-C instead of raising; a second one raises at once.

    Ctrl-C is left as it is outside the main thread, if the program has its own handler, or if this is not wanted.
    """
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.pressed:
            signal.default_int_handler(number, frame)
        interrupt.pressed = True

    ours = wanted and threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours:
        yield interrupt
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
