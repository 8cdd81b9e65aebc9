"""How far a training is: what a bar says, how long it takes still, and when it is time to say so again.

Draws nothing; terminal.py and notebook.py do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import perf_counter

from ravine.train._display.base import Display
from ravine.train._display.cells import clock, duration, number

EVERY = 0.2  # seconds between two updates: faster than this nobody reads
_PATIENCE = 50  # but not before this many times the seconds that one took: drawing costs at most 2% of the time
_LONGEST = 5.0  # a program that was suspended while it drew need not wait for hours
_WINDOW = 50  # updates over which the rate is taken, about ten seconds


class Progress:
    """Where a training stands, in plain numbers. ``title`` takes the place of the number of the epoch."""

    def __init__(self, epochs: int, epoch: int = 1, title: str = "") -> None:
        self.title, self.epochs = title, epochs
        self._epoch_seconds: float | None = None
        self._rate: float | None = None
        self.epoch_begins(epoch, None)

    def epoch_begins(self, epoch: int, batches: int | None) -> None:
        """A new epoch; the rate of the last one is believed until this one has its own."""
        self.epoch, self.batches = epoch, batches
        self.done: int | None = None
        self.loss: float | None = None
        self.lr: float | None = None
        self.validating = False
        self._began = perf_counter()
        self._seen: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    def update(self, done: int, loss: float | None, lr: float | None) -> None:
        """What a display's ``progress`` was given."""
        self.done, self.loss, self.lr = done, loss, lr
        now = perf_counter()
        self._seen.append((now, done))
        then, before = self._seen[0]
        if now > then and done > before:
            self._rate = (done - before) / (now - then)

    def epoch_ends(self) -> None:
        """Validation included: the next epochs are expected to take as long."""
        self._epoch_seconds = perf_counter() - self._began
        self.validating = False

    @property
    def share(self) -> float | None:
        """How much of this epoch's batches is done, from 0 to 1; None if it is not known."""
        if self.validating:
            return 1.0
        return min((self.done or 0) / self.batches, 1.0) if self.batches else None

    @property
    def left(self) -> float | None:
        """Seconds until the last epoch ends, None before there is anything to go by."""
        later = self.epochs - self.epoch
        if self._epoch_seconds is not None:
            here = max(self._epoch_seconds - (perf_counter() - self._began), 0.0)
            return here + later * self._epoch_seconds
        if self._rate and self.batches:
            return (max(self.batches - (self.done or 0), 0) + later * self.batches) / self._rate
        return None

    @property
    def head(self) -> str:
        """What stands before the bar; as long for every epoch."""
        return self.title or f"epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}"

    def facts(self) -> dict[str, str]:
        """What stands behind the bar, in the order in which it is read; lengths change as little as they can."""
        if self.validating:
            count = "validating"
        elif self.batches:
            count = f"{self.done or 0:{len(str(self.batches))}}/{self.batches}"
        else:
            count = "" if self.done is None else f"{self.done} batches"
        left = self.left
        return {
            "count": count,
            "rate": "" if self._rate is None or self.validating else _speed(self._rate),
            "loss": "" if self.loss is None else f"loss {number(self.loss):8}",
            "lr": "" if self.lr is None else f"lr {self.lr:.2e}",
            "left": "" if left is None else f"{clock(left + 0.5)} left",
        }


def _speed(rate: float) -> str:
    if rate < 1:
        return f"{duration(1 / rate)} each"
    return f"{rate:.1f}/s" if rate < 10 else f"{rate:.0f}/s"


class Redrawn(Display):
    """What displays with a bar have in common: they keep the progress and draw it a few times a second."""

    def __init__(self) -> None:
        self._progress = Progress(1)
        self._due = float("inf")
        self._pause = EVERY
        self._drawn: dict[str, float] = {}

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        self._progress = Progress(epochs, first)
        self._due = 0.0

    def count(self, title: str, total: int) -> None:
        self._progress = Progress(1, title=title)
        self._progress.batches = total
        self._due = 0.0

    def epoch_begins(self, epoch: int, batches: int | None) -> None:
        self._progress.epoch_begins(epoch, batches)
        self._draw_for("epoch")

    def wants(self) -> bool:
        return perf_counter() >= self._due

    def progress(self, done: int, loss: float | None = None, lr: float | None = None) -> None:
        self._progress.update(done, loss, lr)
        began = perf_counter()
        self._draw()
        now = perf_counter()
        self._pause = min(max(EVERY, _PATIENCE * (now - began)), _LONGEST)
        self._due = now + self._pause

    def validating(self) -> None:
        self._progress.validating = True
        self._draw_for("validating")

    def row(self, cells: Sequence[object]) -> None:
        self._progress.epoch_ends()

    def end(self) -> None:
        self._due = float("inf")

    def _draw_for(self, event: str) -> None:
        """Draw, unless the same event was drawn a moment ago: a thousand short epochs are no flood."""
        now = perf_counter()
        if now - self._drawn.get(event, float("-inf")) >= self._pause:
            self._drawn[event] = now
            self._draw()

    def _draw(self) -> None:
        """Show the progress as it is now."""
        raise NotImplementedError
