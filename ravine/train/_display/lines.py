"""The display where nothing can be redrawn: a file, a pipe, a log. One plain line for each epoch, and no bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from ravine.train._display.base import Display, warn_failed
from ravine.train._display.cells import Layout, plain


class Lines(Display):
    """Writes aligned lines without escape characters, each flushed so that ``tail -f`` shows it at once."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._failed = False

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        self._epochs = epochs
        self.columns(columns)

    def columns(self, columns: Sequence[str]) -> None:
        self._layout = Layout(columns, self._epochs)
        self._write(self._layout.header())

    def row(self, cells: Sequence[object]) -> None:
        self._write(self._layout.row(cells))

    def say(self, sentence: str) -> None:
        self._write(sentence.splitlines())

    def _write(self, lines: Sequence[str]) -> None:
        if self._failed:
            return
        encoding = getattr(self._file, "encoding", None)
        try:
            self._file.write("".join(f"{plain(line, encoding).rstrip()}\n" for line in lines))
            self._file.flush()
        except OSError as error:  # a full disk, a closed pipe
            self._failed = True
            warn_failed(error)
