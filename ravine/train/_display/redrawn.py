"""How far a training is: what a progress bar says, the time left, and when to draw it again.

Draws nothing; terminal.py and notebook.py do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from ravine.train._display.base import Display
from ravine.train._display.cells import clock, duration, number

_WINDOW = 50  # updates over which the rate is taken, about ten seconds


@dataclass(frozen=True)
class Pace:
    """How often a display draws.

    Attributes:
        every: seconds between two updates: faster than this nobody reads.
        patience: but not before this many times the seconds that one took: drawing costs at most 2% of the time.
        longest: seconds between two updates at most: a program may have been suspended while it drew.
        clock: seconds since some moment.
    """

    every: float = 0.2
    patience: float = 50.0
    longest: float = 5.0
    clock: Callable[[], float] = perf_counter

    def after(self, seconds: float) -> float:
        """The pause after a drawing that took so many seconds."""
        return min(max(self.every, self.patience * seconds), self.longest)


class Progress:
    """Where a training stands, in plain numbers. ``title`` replaces the number of the epoch."""

    def __init__(self, epochs: int, epoch: int = 1, title: str = "", clock: Callable[[], float] = perf_counter) -> None:
        self.title, self.epochs, self._clock = title, epochs, clock
        self._epoch_seconds: float | None = None
        self._rate: float | None = None
        self.epoch_begins(epoch, None)

    def epoch_begins(self, epoch: int, batches: int | None) -> None:
        """A new epoch; until it has a rate of its own, the last one's is shown."""
        self.epoch, self.batches = epoch, batches
        self.done: int | None = None
        self.loss: float | None = None
        self.lr: float | None = None
        self.validating = False
        self._began = self._clock()
        self._seen: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    def update(self, done: int, loss: float | None, lr: float | None) -> None:
        """Take what a display's ``progress`` is given."""
        self.done, self.loss, self.lr = done, loss, lr
        now = self._clock()
        self._seen.append((now, done))
        then, before = self._seen[0]
        if now > then and done > before:
            self._rate = (done - before) / (now - then)

    def epoch_ends(self) -> None:
        """The epoch is over, validation included; the next ones are expected to take as long."""
        self._epoch_seconds = self._clock() - self._began
        self.validating = False

    @property
    def fraction(self) -> float | None:
        """The fraction of this epoch's batches that is done, from 0 to 1; None if it is not known."""
        if self.validating:
            return 1.0
        return min((self.done or 0) / self.batches, 1.0) if self.batches else None

    @property
    def left(self) -> float | None:
        """Seconds until the last epoch ends; None as long as there is no estimate."""
        later = self.epochs - self.epoch
        if self._epoch_seconds is not None:
            here = max(self._epoch_seconds - (self._clock() - self._began), 0.0)
            return here + later * self._epoch_seconds
        if self._rate and self.batches:
            return (max(self.batches - (self.done or 0), 0) + later * self.batches) / self._rate
        return None

    @property
    def head(self) -> str:
        """The text before the bar; equally long for every epoch."""
        return self.title or f"epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}"

    def facts(self) -> dict[str, str]:
        """The texts behind the bar, in order; their lengths change as little as possible."""
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
    """What displays with a bar have in common: they store the progress and draw it a few times a second."""

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = Pace() if pace is None else pace
        self._progress = Progress(1, clock=self._pace.clock)
        self._due = float("inf")
        self._pause = self._pace.every
        self._seen_events: set[str] = set()
        self._drawn_at = float("-inf")

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        self._progress = Progress(epochs, first, clock=self._pace.clock)
        self._due = 0.0

    def count(self, title: str, total: int) -> None:
        self._progress = Progress(1, title=title, clock=self._pace.clock)
        self._progress.batches = total
        self._due = 0.0

    def epoch_begins(self, epoch: int, batches: int | None) -> None:
        self._progress.epoch_begins(epoch, batches)
        self._draw_for("epoch")

    def wants(self) -> bool:
        return self._pace.clock() >= self._due

    def progress(self, done: int, loss: float | None = None, lr: float | None = None) -> None:
        self._progress.update(done, loss, lr)
        self._draw_timed()
        self._due = self._drawn_at + self._pause

    def validating(self) -> None:
        self._progress.validating = True
        self._draw_for("validating")

    def row(self, cells: Sequence[object]) -> None:
        self._progress.epoch_ends()

    def end(self) -> None:
        self._due = float("inf")

    def _draw_for(self, event: str) -> None:
        """Draw, unless something was drawn a moment ago, and this event before: a thousand short epochs would flood the output."""
        if event in self._seen_events and self._pace.clock() - self._drawn_at < self._pause:
            return
        self._seen_events.add(event)
        self._draw_timed()

    def _draw_timed(self) -> None:
        """Draw, and note how long the pause after it must be."""
        began = self._pace.clock()
        self._draw()
        self._drawn_at = self._pace.clock()
        self._pause = self._pace.after(self._drawn_at - began)

    def _draw(self) -> None:
        """Show the progress as it is now."""
        raise NotImplementedError
