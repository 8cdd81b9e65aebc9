"""The display of a terminal: rows that stay, and below them a bar that is redrawn and disappears at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TextIO

from ravine.train._display.base import warn_failed
from ravine.train._display.cells import Layout, plain
from ravine.train._display.redrawn import Pace, Progress, Redrawn

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

_EXPENDABLE = ("lr", "rate", "loss", "left", "count")  # left out in a narrow terminal, the least important first
_BAR = (8, 30)  # the smallest and the largest width of the bar


class Terminal(Redrawn):
    """Prints the table and keeps a bar below it.

    What other code prints meanwhile appears above the bar. A display that begins while another one is active (a
    training inside a training) has the bar to itself until it ends. If the terminal goes away, there is one warning,
    and the training continues without being shown.
    """

    _active: ClassVar[list[Terminal]] = []

    def __init__(self, file: TextIO, pace: Pace | None = None) -> None:
        from rich.console import Console

        super().__init__(pace)
        self._encoding = getattr(file, "encoding", None)
        self._console = Console(
            file=file, force_terminal=True, force_jupyter=False, markup=False, emoji=False, highlight=False
        )
        self._live: Live | None = None
        self._failed = False

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        super().begin(columns, epochs, first)
        self.columns(columns)
        self._start_above_others()

    def columns(self, columns: Sequence[str]) -> None:
        self._layout = Layout(columns, self._progress.epochs, self._console.width)
        self._try(lambda: self._print(self._layout.header(), "bold"))

    def count(self, title: str, total: int) -> None:
        super().count(title, total)
        self._start_above_others()

    def row(self, cells: Sequence[object]) -> None:
        super().row(cells)
        self._try(lambda: self._print(self._layout.row(cells)))

    def say(self, sentence: str) -> None:
        self._try(lambda: self._print(sentence.splitlines(), "italic", wrap=True))

    def end(self) -> None:
        super().end()
        self._stop()
        if self in self._active:
            self._active.remove(self)
            if self._active:
                self._active[-1]._start()

    def _draw(self) -> None:
        if self._live is not None:
            self._try(self._live.refresh)

    def _start_above_others(self) -> None:
        if self._active:
            self._active[-1]._stop()
        self._active.append(self)
        self._start()

    def _start(self) -> None:
        from rich.live import Live

        if self._live is not None:
            return
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            get_renderable=lambda: _Bar(self._progress, self._encoding),
            # output that is redirected to a file stays there
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=is_terminal(sys.stderr),
        )
        self._try(self._live.start)
        self._draw()
        self._try(lambda: self._console.show_cursor(True))  # a process that is killed could not show it again

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            self._try(live.stop)

    def _print(self, lines: Sequence[str], style: str = "", wrap: bool = False) -> None:
        text = "\n".join(plain(line, self._encoding).rstrip() for line in lines)
        self._console.print(text, style=style, soft_wrap=not wrap)

    def _try(self, write: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            write()
        except OSError as error:
            self._failed = True
            live, self._live = self._live, None
            if live is not None:
                with contextlib.suppress(OSError):
                    live.stop()
            warn_failed(error)


class _Bar:
    """One line, as wide as the terminal allows."""

    def __init__(self, progress: Progress, encoding: str | None) -> None:
        self._progress, self._encoding = progress, encoding

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        head = plain(self._progress.head, self._encoding)
        facts = self._progress.facts()
        fraction = self._progress.fraction
        least = 0 if fraction is None else _BAR[0] + 2
        behind = "  ".join(filter(None, facts.values()))
        for name in _EXPENDABLE:
            if len(head) + least + 2 + len(behind) <= options.max_width:
                break
            facts[name] = ""
            behind = "  ".join(filter(None, facts.values()))
        room = options.max_width - len(head) - len(behind) - 4
        yield Text(head, end="  ", no_wrap=True)
        if fraction is not None and room > 0:
            yield ProgressBar(total=1.0, completed=fraction, width=min(room, _BAR[1]))
            yield Text("  ", end="")
        yield Text(behind, end="", no_wrap=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal; one that does not say is not."""
    return bool(getattr(stream, "isatty", bool)())
