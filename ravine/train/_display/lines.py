"""The display where nothing can be redrawn: a file, a pipe, a log. Plain lines for epochs, and for progress in long ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from ravine._plotting.progress_lines import ProgressLines
from ravine.train._display.base import Display, warn_failed
from ravine.train._display.cells import Layout, plain
from ravine.train._display.redrawn import Progress

_MOST = 1000  # epochs that get a line each; metrics.jsonl has all


class Lines(Display):
    """Writes aligned lines without escape characters, each flushed so that ``tail -f`` shows it at once.

    An epoch that takes long has lines of progress; of thousands of epochs not each has a line.

    Args:
        file: where to write.
        pace: when a line of progress is due.
    """

    def __init__(self, file: TextIO, pace: ProgressLines | None = None) -> None:
        self._file = file
        self._pace = ProgressLines() if pace is None else pace
        self._progress = Progress(1)
        self._every, self._rows = 1, 0
        self._unwritten: Sequence[object] | None = None  # the last row, if it had no line
        self._failed = False

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        self._progress = Progress(epochs, first)
        self._rows, self._every = 0, 1
        while epochs - first >= _MOST * self._every:
            self._every *= 10
        if self._every > 1:
            self._write([f"Every {self._every}th of {epochs:,} epochs has a line here."])
        self.columns(columns)

    def columns(self, columns: Sequence[str]) -> None:
        self._layout = Layout(columns, self._progress.epochs)
        self._write(self._layout.header())

    def count(self, title: str, total: int) -> None:
        self._progress = Progress(1, title=title)
        self._progress.batches = total

    def epoch_begins(self, epoch: int, batches: int | None) -> None:
        self._progress.epoch_begins(epoch, batches)

    def wants(self) -> bool:
        return self._pace.due()

    def progress(self, done: int, loss: float | None = None, lr: float | None = None) -> None:
        self._progress.update(done, loss, lr)
        facts = self._progress.facts()
        self._write(["  ".join([self._progress.head, *(fact.strip() for fact in facts.values() if fact)])])

    def row(self, cells: Sequence[object]) -> None:
        self._progress.epoch_ends()
        self._rows += 1
        self._unwritten = cells
        if self._rows % self._every == 0 or self._rows == 1:
            self._write_row()

    def say(self, sentence: str) -> None:
        self._write_row()
        self._write(sentence.splitlines())

    def end(self) -> None:
        self._write_row()

    def _write_row(self) -> None:
        cells, self._unwritten = self._unwritten, None
        if cells is not None:
            self._write(self._layout.row(cells))

    def _write(self, lines: Sequence[str]) -> None:
        self._pace.written()
        if self._failed:
            return
        encoding = getattr(self._file, "encoding", None)
        try:
            self._file.write("".join(f"{plain(line, encoding).rstrip()}\n" for line in lines))
            self._file.flush()
        except OSError as error:  # a full disk, a closed pipe
            self._failed = True
            warn_failed(error)
