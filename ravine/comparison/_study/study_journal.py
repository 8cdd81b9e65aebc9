"""A journal file of trials whose lines are whole, whatever became of its writers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

_BLOCK = 4096


def journal(path: str, grace: int) -> JournalFileBackend:
    """Optuna's journal file; a lock that is older than ``grace`` seconds is taken from whoever holds it."""
    return _Journal(path, JournalFileSymlinkLock(path, grace_period=grace))


class _Journal(JournalFileBackend):
    """What a full disk, or a writer that was killed, has left of a line is taken away before the next is written.

    Optuna would write on behind it, and nobody could read the file any more.
    """

    def __init__(self, path: str, lock: JournalFileSymlinkLock) -> None:
        super().__init__(path, lock_obj=lock)
        self._place, self._held = path, lock

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._held.acquire()
        try:
            with open(self._place, "r+b", buffering=0) as file:
                end = _end(file)
                file.truncate(end)
                try:
                    file.seek(end)
                    rest = memoryview(lines)
                    while rest:  # where the disk becomes full, a part is written first
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):
                        file.truncate(end)
                    raise
        finally:
            self._held.release()


def _end(file: BinaryIO | Any) -> int:
    """Where the last whole line ends."""
    place = file.seek(0, os.SEEK_END)
    while place > 0:
        first = max(0, place - _BLOCK)
        file.seek(first)
        at = file.read(place - first).rfind(b"\n")
        if at >= 0:
            return first + at + 1
        place = first
    return 0
