"""A journal: a file of JSON lines that grows while a run goes on, and that a run can take back to a checkpoint.

What the lines say is the business of those who write them.

The lines are strict JSON, which has no NaN and no infinities: these are written as the texts ``"NaN"``, ``"Infinity"``
and ``"-Infinity"``, and :func:`read` makes numbers of these three texts wherever it finds them as values. Therefore
no line can hold one of them as a text.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine.errors import DataError, OptionError, StateError

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BLOCK = 4096  # bytes looked at together when the end of the last line is sought


class Journal:
    """Appends to the file ``path``, which is made by the first :meth:`append`; lines that it has are kept.

    A journal has one writer at a time. It holds no file open between calls. A process that is killed leaves whole
    lines and perhaps the beginning of one more, which the next append removes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and hand it to the system: it survives this process, though not yet a loss of power.

        Args:
            record: text, numbers, None, and lists and dicts of them. Every float comes back as it was; a tuple
                comes back as a list.

        Raises:
            StateError: the record holds something else; nothing was written.
            OptionError: the file cannot be written. What it had is still there, and the next append begins a
                new line.
        """
        rest = json.dumps(_strict(record, "record"), separators=(",", ":"), allow_nan=False).encode() + b"\n"
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
            OptionError: the disk does not take it.
        """
        self.position()

    def position(self) -> int:
        """How many bytes the whole lines take, which are synced first: what a checkpoint keeps for :meth:`rewind`.

        Raises:
            OptionError: the disk does not take them.
        """
        if not self.path.exists():
            return 0
        with _writing(self.path), open(self.path, "r+b", buffering=0) as file:
            os.fsync(file.fileno())
            return _end_of_lines(file)[0]

    def rewind(self, position: int) -> None:
        """Go back to where :meth:`position` was ``position``: lines after it are dropped.

        Raises:
            DataError: the file is shorter, or no line ends there: it is not the file that the position is of.
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
    """The lines of a journal, without one at the end that a killed writer left unfinished.

    Raises:
        DataError: there is no such file, or a line is damaged; the line is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    records = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            record = json.loads(line.decode(), parse_constant=_refuse)
            if not isinstance(record, dict):
                raise ValueError("not an object")
            records.append(_loose(record))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number} is damaged ({error}). Remove the line if the others are to be read."
            ) from error
    return records


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}.") from error


def _end_of_lines(file: RawIOBase) -> tuple[int, int]:
    """Where the last whole line of a file ends, and where the file ends."""
    end = size = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        found = (file.read(end - start) or b"").rfind(b"\n")
        if found >= 0:
            return start + found + 1, size
        end = start
    return 0, size


def _strict(value: Any, place: str) -> Any:
    """The value in what strict JSON has."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str) and value in _NOT_FINITE:
        raise StateError(f"{place} is the text {value!r}, which would be read as a number.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= {float} and all(map(math.isfinite, value)):
            return value  # a thousand steps are looked at in one go
        return [_strict(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _strict(item, f"{place}[{key!r}]") for key, item in value.items()}
    what = "a dict with keys that are not text" if isinstance(value, dict) else f"a {type(value).__qualname__}"
    raise StateError(f"{place} is {what}; a journal holds text, numbers, None, and lists and dicts of them.")


def _loose(value: Any) -> Any:
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, list):
        return [_loose(item) for item in value]
    if isinstance(value, dict):
        return {key: _loose(item) for key, item in value.items()}
    return value


def _refuse(token: str) -> None:
    raise ValueError(f"{token} is not strict JSON")


def _not_there(path: Path, position: int, what: str) -> str:
    return f"{path} {what}, but the checkpoint was written at byte {position} of it: it is not the file of this run."
