"""A file or a pipe of text: its beginning, which tells what it is, and all of it."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ravine.errors import DataError

#: What stands for standard input among paths.
STDIN = "-"
_HEAD = 4096  # bytes that tell what a file is


class TextFile:
    """What a path names.

    Attributes:
        path: where it is, for errors.
        head: its first bytes.
        piped: whether it is a pipe, which can be read only once.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        standard = str(path) == STDIN
        self.path = Path("standard input") if standard else Path(path)
        try:
            with _standard_input() if standard else open(path, "rb") as file:
                self.piped = standard or not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                self.head: bytes = file.read(_HEAD)
                # what is no text may have no end, as /dev/zero
                self._content = self.head + (b"" if b"\0" in self.head else file.read()) if self.piped else None
        except OSError as error:
            raise self._unreadable(error) from error

    def text(self) -> str:
        """All of it, in UTF-8, with or without a byte order mark.

        Raises:
            DataError: it cannot be read, or is no text.
        """
        try:
            content = self.path.read_bytes() if self._content is None else self._content
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"{self.path}, line {line} is not UTF-8 (byte {content[error.start]:#04x}): save the file as UTF-8."
            ) from error

    def _unreadable(self, error: OSError) -> DataError:
        return DataError(f"{self.path} cannot be read: {error.strerror}.")


def _standard_input() -> Any:
    """Standard input as bytes, which is left open.

    Raises:
        DataError: there is none.
    """
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError("There is no standard input to read: name a file.")
    return nullcontext(stream)
