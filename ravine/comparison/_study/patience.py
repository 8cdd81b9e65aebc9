"""Waits for a database that is away for a while, as one is that restarts, and says so."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from ravine.comparison._study.storage_errors import reason, without_password

T = TypeVar("T")

_SERVERS = ("postgresql://", "mysql://")
#: What drivers raise for a lost connection, and SQLAlchemy for what was begun in it.
_AWAY = {"OperationalError", "InterfaceError", "PendingRollbackError"}
#: Seconds that a database may be away, and between two attempts.
LIMIT, PAUSE = 120.0, 1.0


def _say(line: str) -> None:
    sys.stderr.write(f"ravine: {line}\n")
    sys.stderr.flush()


class Patience:
    """Does things with a storage; those that fail because its server cannot be reached are done again.

    Each thing may have been done already when the connection was lost, so doing it twice must do no harm.

    Args:
        where: the storage; a file is not waited for.
        limit: seconds after which the error is raised. From then on nothing waits, until something succeeds.
        reset: called before each new attempt; what it raises does not matter.
        back: called when the server is back.
        clock, sleep, say: the time in seconds, what waits, what tells the user.

    Attributes:
        while_waiting: called before each new attempt; what it raises ends the waiting.
    """

    def __init__(
        self,
        where: str,
        *,
        limit: float = LIMIT,
        reset: Callable[[], Any] = lambda: None,
        back: Callable[[], Any] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = _say,
    ) -> None:
        self.while_waiting: Callable[[], None] = lambda: None
        self._where, self._limit, self._reset, self._back = where, limit, reset, back
        self._clock, self._sleep, self._say = clock, sleep, say
        self._since: float | None = None  # when it was first away
        self._given_up = False

    def __repr__(self) -> str:
        state = "at hand" if self._since is None else "given up" if self._given_up else "away"
        return f"Patience({without_password(self._where)!r}, {state})"

    def __call__(self, operation: Callable[[], T]) -> T:
        """Do it, and again if the server is away; whatever else it raises is raised at once."""
        while True:
            try:
                done = operation()
            except Exception as error:
                if not self._is_away(error):
                    raise
                self._wait(error)
            else:
                if self._since is not None:
                    self._over(self._since)
                return done

    def _is_away(self, error: Exception) -> bool:
        if not self._where.startswith(_SERVERS):
            return False
        cause: BaseException | None = error
        while cause is not None:
            if getattr(cause, "connection_invalidated", False) or _AWAY & {c.__name__ for c in type(cause).__mro__}:
                return True
            cause = cause.__cause__
        return False

    def _wait(self, error: Exception) -> None:
        """Wait for the next attempt, or raise the error."""
        now = self._clock()
        if self._since is None:
            self._since = now
            self._say(
                f"The storage {without_password(self._where)} cannot be reached: {reason(error)}. "
                f"Trying again for {self._limit:.0f} seconds; what is finished is saved."
            )
        if self._given_up or now - self._since >= self._limit:
            self._given_up = True
            raise error
        try:
            self.while_waiting()
            self._sleep(PAUSE)
            self.while_waiting()
        except BaseException:  # Ctrl-C: what is done about it must not wait again
            self._given_up = True
            raise
        with suppress(Exception):
            self._reset()

    def _over(self, since: float) -> None:
        self._since, self._given_up = None, False
        self._back()
        self._say(f"The storage {without_password(self._where)} is back after {self._clock() - since:.0f} seconds.")
