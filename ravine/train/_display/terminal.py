"""The display of a terminal: rows that stay, and below them a bar that is redrawn and disappears at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TextIO

from ravine.train._display.base import given_up
from ravine.train._display.cells import Layout, plain
from ravine.train._display.redrawn import Progress, Redrawn

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

_EXPENDABLE = ("lr", "rate", "loss", "left", "count")  # what a narrow terminal does without, first what it misses least
_BAR = (8, 30)  # the least and the greatest width of the bar


class Terminal(Redrawn):
    """Prints the table and keeps a bar below it.

    What other code prints meanwhile appears above the bar. A display that begins while another one is active (a
    training inside a training) has the bar to itself until it ends. A terminal that goes away is no reason to end a
    training: there is one warning, and nothing more is shown.
    """

    _active: ClassVar[list[Terminal]] = []

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console

        super().__init__()
        self._encoding = getattr(file, "encoding", None)
        self._console = Console(
            file=file, force_terminal=True, force_jupyter=False, markup=False, emoji=False, highlight=False
        )
        self._live: Live | None = None
        self._gone = False

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        super().begin(columns, epochs, first)
        self._layout = Layout(columns, epochs, self._console.width)
        self._try(lambda: self._print(self._layout.header(), "bold"))
        self._take_over()

    def count(self, title: str, total: int) -> None:
        super().count(title, total)
        self._take_over()

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

    def _take_over(self) -> None:
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
            # What goes to another place than a terminal stays there.
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=is_terminal(sys.stderr),
        )
        self._try(self._live.start)
        self._draw()
        self._try(lambda: self._console.show_cursor(True))  # a training that is killed could not show it again

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            self._try(live.stop)

    def _print(self, lines: Sequence[str], style: str = "", wrap: bool = False) -> None:
        text = "\n".join(plain(line, self._encoding).rstrip() for line in lines)
        self._console.print(text, style=style, soft_wrap=not wrap)

    def _try(self, write: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            write()
        except OSError as error:
            self._gone = True
            live, self._live = self._live, None
            if live is not None:
                with contextlib.suppress(OSError):
                    live.stop()
            given_up(error)


class _Bar:
    """One line, as wide as the terminal allows."""

    def __init__(self, progress: Progress, encoding: str | None) -> None:
        self._progress, self._encoding = progress, encoding

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        head = plain(self._progress.head, self._encoding)
        facts = self._progress.facts()
        share = self._progress.share
        least = 0 if share is None else _BAR[0] + 2
        behind = "  ".join(filter(None, facts.values()))
        for name in _EXPENDABLE:
            if len(head) + least + 2 + len(behind) <= options.max_width:
                break
            facts[name] = ""
            behind = "  ".join(filter(None, facts.values()))
        room = options.max_width - len(head) - len(behind) - 4
        yield Text(head, end="  ", no_wrap=True)
        if share is not None and room > 0:
            yield ProgressBar(total=1.0, completed=share, width=min(room, _BAR[1]))
            yield Text("  ", end="")
        yield Text(behind, end="", no_wrap=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether what is written appears on a screen; a stream that does not say is none."""
    return bool(getattr(stream, "isatty", bool)())
