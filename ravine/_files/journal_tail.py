"""Follows a journal that another process writes: what is new in it since the last look, and whether it is still the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ravine._files.json_lines import LineReader
from ravine.errors import DataError

_SEEN = 200  # bytes before where reading goes on, which must still be there: checksums and times of the last line are among them


class JournalTail:
    """Reads the complete lines of the file ``path`` once each, as they come. It writes nothing.

    A line that its writer has not finished waits for the next :meth:`read`.

    Attributes:
        written: when the file was last written to, in seconds since 1970, as of the last :meth:`read`; 0 if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.written = path, 0.0
        self._begin_again()
        self._anew = False

    def _begin_again(self) -> None:
        self._place, self._seen, self._size = 0, b"", -1
        self._lines = LineReader(self.path)
        self._anew = True

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether the file begins anew, and the records that are new: then all of them.

        It does where it was cut back, as by a run that is resumed, or replaced.

        Raises:
            FileNotFoundError: there is no such file; should there be one again, it begins anew.
            OSError: it cannot be read.
            DataError: a line is damaged.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._begin_again()
            raise
        if status.st_size == self._size and status.st_mtime == self.written:
            return False, []
        with self.path.open("rb") as file:
            file.seek(self._place - len(self._seen))
            if file.read(len(self._seen)) != self._seen:
                self._begin_again()
                file.seek(0)
            content = file.read()
        lines = content[: content.rfind(b"\n") + 1]
        try:
            records = [self._lines.read(line) for line in lines.split(b"\n")[:-1]]
        except DataError:
            self._begin_again()  # once it is written to again, or mended
            self._size, self.written = status.st_size, status.st_mtime
            raise
        self._size, self.written = status.st_size, status.st_mtime
        self._place += len(lines)
        self._seen = (self._seen + lines)[-_SEEN:]
        anew, self._anew = self._anew, False
        return anew, records
