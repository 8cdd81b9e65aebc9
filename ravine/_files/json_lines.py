"""A journal: a file of JSON lines that grows while a run trains, and that can be cut back to where a checkpoint was.

The lines are strict JSON, which has no NaN and no infinities: these are written as the texts ``"NaN"``, ``"Infinity"``
and ``"-Infinity"``, and :func:`read` turns these three texts back into numbers. So no line can hold them as texts.

Each line ends with a checksum of what stands before it, as the member ``"crc32"`` of its object. Lines without one, as
older versions wrote them, are read, too, as long as they come first.
"""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine.errors import DataError, OptionError, StateError, an

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BLOCK = 4096  # bytes that are read at once to search for the end of the last line
_CHECKSUM = re.compile(rb',?"crc32":"([0-9a-f]{8})"}$')
_LIKE_A_CHECKSUM = re.compile(rb'[,{]"[^"]{5}":"[^"]{8}"}$')  # what one is after a bit of it was flipped


class Journal:
    """Appends to the file ``path``, which the first :meth:`append` creates if it is not there.

    A journal has one writer at a time. It keeps no file open between calls. A process that is killed leaves whole
    lines and perhaps the beginning of one more, which the next append removes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and pass it to the system: it survives this process, but perhaps not a loss of power.

        Args:
            record: text, numbers, None, and lists and dicts of them. Every float is read back exactly; a tuple
                is read back as a list.

        Raises:
            StateError: the record has something else; nothing was written.
            OptionError: the file cannot be written. Its lines are still there, and the next append begins a new one.
        """
        rest = _with_checksum(json.dumps(_strict(record, "record"), separators=(",", ":"), allow_nan=False).encode())
        with _writing(self.path), open(self.path, "a+b", buffering=0) as file:
            end, size = _end_of_lines(file)
            if end < size:
                file.truncate(end)
            while rest:
                rest = rest[file.write(rest) :]
        if size == 0:
            files.sync_folder(self.path.parent)

    def sync(self) -> None:
        """Make what was appended survive a loss of power.

        Raises:
            OptionError: the disk refuses.
        """
        self.position()

    def position(self) -> int:
        """The size of the complete lines in bytes, after they were synced: what a checkpoint stores for :meth:`rewind`.

        Raises:
            OptionError: the disk refuses.
        """
        if not self.path.exists():
            return 0
        with _writing(self.path), open(self.path, "r+b", buffering=0) as file:
            os.fsync(file.fileno())
            return _end_of_lines(file)[0]

    def rewind(self, position: int) -> None:
        """Go back to where :meth:`position` was ``position``: later lines are removed.

        Raises:
            DataError: the file is shorter, or no line ends there: it is not the file of that position.
            OptionError: the file cannot be written.
        """
        if not self.path.exists():
            if position:
                raise DataError(_not_there(self.path, position, "does not exist"))
            return
        with _writing(self.path), open(self.path, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size < position:
                raise DataError(_not_there(self.path, position, f"has only {size} bytes"))
            if position:
                file.seek(position - 1)
                if file.read(1) != b"\n":
                    raise DataError(_not_there(self.path, position, "has no end of a line there"))
            file.truncate(position)
            os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, without an incomplete one at the end that a killed writer left.

    Raises:
        DataError: there is no such file, or a line is damaged; the text names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    reader = LineReader(path)
    return [reader.read(line) for line in content.split(b"\n")[:-1]]


class LineReader:
    """Reads the lines of a journal one after the other.

    Attributes:
        number: how many lines were read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self._checked = False  # whether a line has had a checksum; all that follow must have one

    def read(self, line: bytes) -> dict[str, Any]:
        """The record in the next line, which is given without its end.

        Raises:
            DataError: it is damaged; the text names it.
        """
        self.number += 1
        try:
            body = _without_checksum(line)
            if body is None and (self._checked or _LIKE_A_CHECKSUM.search(line)):
                raise ValueError("its checksum is missing or damaged")
            self._checked = self._checked or body is not None
            record = json.loads((line if body is None else body).decode(), parse_constant=_refuse)
            if not isinstance(record, dict):
                raise ValueError("not an object")
            loose: dict[str, Any] = _loose(record)
            return loose
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{self.path}, line {self.number} is damaged ({error}). Remove that line to read the others."
            ) from error


def _with_checksum(line: bytes) -> bytes:
    """The line of an object with its checksum as one more member, and the end of the line."""
    separator = b"" if line == b"{}" else b","
    return line[:-1] + separator + b'"crc32":"%08x"}\n' % zlib.crc32(line)


def _without_checksum(line: bytes) -> bytes | None:
    """The line as it was before the checksum was added; None if it has none.

    Raises:
        ValueError: the checksum does not match.
    """
    match = _CHECKSUM.search(line)
    if match is None:
        return None
    body = line[: match.start()] + b"}"
    if zlib.crc32(body) != int(match[1], 16):
        raise ValueError("its checksum does not match")
    return body


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}.") from error


def _end_of_lines(file: RawIOBase) -> tuple[int, int]:
    """Where the last complete line of a file ends, and where the file ends."""
    end = size = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = (file.read(end - start) or b"").rfind(b"\n")
        if newline >= 0:
            return start + newline + 1, size
        end = start
    return 0, size


def _strict(value: Any, place: str) -> Any:
    """The value in the types of strict JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str) and value in _NOT_FINITE:
        raise StateError(f"{place} is the text {value!r}, which would be read as a number.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= {float} and all(map(math.isfinite, value)):
            return value  # the quick way for a thousand steps
        return [_strict(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _strict(item, f"{place}[{key!r}]") for key, item in value.items()}
    what = "a dict with keys that are not text" if isinstance(value, dict) else f"{an(type(value).__qualname__)}"
    raise StateError(f"{place} is {what}; a journal stores text, numbers, None, and lists and dicts of them.")


def _loose(value: Any) -> Any:
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, list):
        # the quick way for a thousand steps
        return value if set(map(type, value)) <= {float, int} else [_loose(item) for item in value]
    if isinstance(value, dict):
        return {key: _loose(item) for key, item in value.items()}
    return value


def _refuse(token: str) -> None:
    raise ValueError(f"{token} is not strict JSON")


def _not_there(path: Path, position: int, what: str) -> str:
    return f"{path} {what}, but the checkpoint was written at byte {position} of it: it is not the file of this run."
