"""A journal file of trials whose lines are whole and unchanged, whatever became of their writers and of the disk.

The format is Optuna's, a JSON object in each line, so ``optuna-dashboard`` reads it. Each line that is written here
has one more key at its end, ``checksum``, which Optuna does not look at. Lines without one, which the dashboard or an
older version wrote, are read as they are.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from ravine.errors import DataError

with warnings.catch_warnings():  # this is where Optuna is first imported
    warnings.filterwarnings("ignore", "IProgress not found")  # in a notebook, of bars that are never shown
    from optuna.storages.journal import BaseJournalBackend, JournalFileSymlinkLock

_BLOCK = 4096
_FIRST_TRIAL = 3  # the line; those before it make the study, and say what it is
_HEAD = b'{"op_code":'  # what every line begins with
_CHECKSUM = re.compile(rb',"checksum":"crc32:([0-9a-f]{8})"\}\n')
_TRACES = b'"checksum"', b'"crc32:'  # of a checksum: damage in one place leaves one of them


class StudyJournal(BaseJournalBackend):
    """Optuna's journal in a file, with checksums.

    What a full disk, or a writer that was killed, has left of a line is taken away before the next is written: Optuna
    would write on behind it, and nobody could read the file any more.

    Args:
        path: the file; it is made if it is not there.
        grace: after how many seconds a lock is taken from whoever holds it.

    Attributes:
        line: the number of the line that was read last, from 1.
    """

    def __init__(self, path: str, grace: int) -> None:
        self.path, self.line = path, 0
        self._lock = JournalFileSymlinkLock(path, grace_period=grace)
        self._offsets = [0]  # where each line begins that was read, and behind them the next
        if not os.path.exists(path):  # one that is there may be read only, as on a disk of others
            with open(path, "ab"):
                pass

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The lines from that number, from 0; a last one that is not finished yet is left for later.

        Raises:
            DataError: a line is damaged; the text names file and line.
        """
        first = min(log_number_from, len(self._offsets) - 1)
        with open(self.path, "rb") as file:
            end = file.seek(0, os.SEEK_END)  # what others write meanwhile is for the next time
            file.seek(self._offsets[first])
            for number, line in enumerate(file, first):
                after = self._offsets[number] + len(line)
                if after > end or not line.endswith(b"\n"):
                    return
                if number + 1 == len(self._offsets):
                    self._offsets.append(after)
                if number >= log_number_from:
                    self.line = number + 1
                    yield self._read(line)

    def _read(self, line: bytes) -> dict[str, Any]:
        """The object in a line.

        Raises:
            DataError: the checksum is another, or it is not a JSON object.
        """
        if any(trace in line for trace in _TRACES):
            match = _CHECKSUM.search(line)
            if match is None or match.end() != len(line) or checksum(line[: match.start()]) != match[1]:
                raise DataError(f"{self.where} is damaged: its checksum is not that of its content. {self.advice}")
        try:
            tree = json.loads(line)
        except ValueError:  # what a parser says of a damaged line leads nowhere
            tree = None
        if not isinstance(tree, dict) or not isinstance(tree.get("op_code"), int):
            raise DataError(f"{self.where} is not a line of a journal of trials, or it is damaged. {self.advice}")
        return tree

    @property
    def where(self) -> str:
        """The file, and the line that was read last."""
        return f"{self.path}, line {self.line},"

    @property
    def advice(self) -> str:
        """What to do if that line is damaged.

        It must not be taken out alone: trials are counted by the lines that begin them, and all results that follow would go
        to others.
        """
        if self.line < _FIRST_TRIAL:
            return "Name another file."
        path, whole, damaged = map(shlex.quote, (self.path, f"{self.path}.whole", f"{self.path}.damaged"))
        return (
            f"What stands before it can be kept: stop all workers, cut the file off there (head -n {self.line - 1} {path} > {whole} "
            f"&& mv {path} {damaged} && mv {whole} {path}), and resume the study. What was finished later is trained again."
        )

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Write lines behind the last whole one, all or none of them."""
        lines = b"".join(_with_checksum(json.dumps(log, separators=(",", ":")).encode()) for log in logs)
        self._lock.acquire()
        try:
            with open(self.path, "r+b", buffering=0) as file:
                end = _end(file)
                self._check_torn(file, end)
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
            self._lock.release()

    def _check_torn(self, file: Any, end: int) -> None:
        """Refuse to take away what no journal's writer has left.

        Raises:
            DataError: the file has content, but not one line of a journal.
        """
        file.seek(end)
        rest = file.read(len(_HEAD))
        if end == 0 and not _HEAD.startswith(rest):
            raise DataError(f"{self.path} is not a journal of trials. Name another file.")


def checksum(content: bytes) -> bytes:
    """The checksum of a line, of all that stands before it."""
    return b"%08x" % zlib.crc32(content)


def _with_checksum(line: bytes) -> bytes:
    content = line[:-1]  # without the bracket
    return content + b',"checksum":"crc32:' + checksum(content) + b'"}\n'


def _end(file: BinaryIO | Any) -> int:
    """Where the last whole line ends."""
    place = file.seek(0, os.SEEK_END)
    while place > 0:
        first = max(0, place - _BLOCK)
        file.seek(first)
        at = file.read(place - first).rfind(b"\n")
        if at >= 0:
            return int(first + at + 1)
        place = first
    return 0
