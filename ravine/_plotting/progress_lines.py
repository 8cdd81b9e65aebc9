"""When a line of progress is due where lines stay, as in the log of a CI: often enough to see life, seldom enough to read."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

FIRST, LONGEST = 10.0, 300.0  # seconds
_SHARE = 0.1  # of the time so far


class ProgressLines:
    """Lines are due after 10 seconds without one, later after a tenth of the time so far, at last every 5 minutes.

    An hour has some 40 of them, a day some 300; what takes a few seconds has none.

    Args:
        clock: seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._due = self._began + FIRST

    def due(self) -> bool:
        """Whether it is time for a line."""
        return self._clock() >= self._due

    def written(self) -> None:
        """A line was written just now, whatever it says."""
        now = self._clock()
        self._due = now + min(max(FIRST, _SHARE * (now - self._began)), LONGEST)
