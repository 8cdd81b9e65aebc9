"""Asks for snapshots while somebody looks, and says which parts of the page have changed. One for all browsers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

Poll = Callable[[], Mapping[str, Any] | None]
"""Gives the parts of the page by name, plain values, or None if nothing has changed since the last call."""

_FIRST = 1.0  # seconds that a page may wait for the first look
_IDLE = 2.0  # seconds between two looks while nobody watches


class Watcher:
    """Polls in a thread of its own.

    Args:
        poll: gives the parts.
        period: seconds between two looks while somebody watches.
    """

    def __init__(self, poll: Poll, period: float = 0.1) -> None:
        self._poll, self._period = poll, period
        self._lock = threading.Condition()
        self._texts: dict[str, tuple[int, str]] = {}  # by part, the version in which it changed last, and its JSON
        self._version = 0
        self._watching = 0
        self._over = False
        self._listeners: list[Callable[[], None]] = []
        self._looked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ravine live", daemon=True)

    def start(self) -> None:
        """Look in the thread; the first look is waited for, but not for long."""
        self._thread.start()
        self._looked.wait(_FIRST)

    def stop(self) -> None:
        """Look no more, and let listeners know."""
        with self._lock:
            self._over = True
            self._lock.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def over(self) -> bool:
        """Whether it has stopped."""
        return self._over

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this, from the thread, whenever something has changed; while somebody listens, looks are frequent."""
        with self._lock:
            self._listeners.append(listener)
            self._lock.notify_all()

    def forget(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._listeners.remove(listener)

    def since(self, version: int) -> tuple[int, str | None]:
        """The version now, and the parts that have changed since that one as a JSON object; None if none has. 0 is before all."""
        with self._lock:
            changed = {name: text for name, (at, text) in self._texts.items() if at > version}
            now = self._version
        if not changed:
            return now, None
        return now, "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in changed.items()) + "}"

    def _run(self) -> None:
        while True:
            self._look()
            self._looked.set()
            with self._lock:
                if not self._over:
                    self._lock.wait(self._period if self._listeners else max(self._period, _IDLE))
                if self._over:
                    return

    def _look(self) -> None:
        """Ask once. What goes wrong is shown on the page, which goes on."""
        try:
            parts = self._poll()
            if parts is not None:
                parts = {**parts, "trouble": ""}
        except Exception as error:
            parts = {"trouble": f"What is new could not be read: {type(error).__name__}: {error}"}
        if parts is not None:
            texts = {n: json.dumps(part, allow_nan=False, separators=(",", ":")) for n, part in parts.items()}
            with self._lock:
                changed = {n: text for n, text in texts.items() if self._texts.get(n, (0, ""))[1] != text}
                if changed:
                    self._version += 1
                    self._texts |= {name: (self._version, text) for name, text in changed.items()}
                listeners = list(self._listeners) if changed else []
            for listener in listeners:
                listener()
