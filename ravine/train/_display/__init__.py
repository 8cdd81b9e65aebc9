"""What is shown of a training: a table with a row for each epoch, and a progress bar while an epoch runs.

``display_for`` chooses: a terminal (terminal.py), a notebook (notebook.py), plain lines (lines.py) or nothing
(base.py). Displays are given plain numbers; they know no model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from ravine.train._display.base import Display
from ravine.train._display.lines import Lines
from ravine.train._display.notebook import Notebook, in_notebook
from ravine.train._display.redrawn import Pace
from ravine.train._display.terminal import Terminal, is_terminal

__all__ = ["Display", "bar", "display_for"]


def display_for(quiet: bool = False, file: TextIO | None = None, pace: Pace | None = None) -> Display:
    """The display that suits where the output goes.

    Args:
        quiet: show nothing.
        file: where to write; None is the notebook, if the program runs in one, and otherwise standard output.
        pace: how often a bar is drawn; None: a few times a second.
    """
    if quiet:
        return Display()
    if file is None and in_notebook():
        return Notebook(pace)
    stream = sys.stdout if file is None else file
    stream = getattr(stream, "rich_proxied_file", stream)  # an active display has replaced it by a proxy
    if stream is None:  # a program without a console
        return Display()
    if is_terminal(stream) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        return Terminal(stream, pace)
    return Lines(stream)


@contextmanager
def bar(title: str, total: int, quiet: bool = False, file: TextIO | None = None) -> Iterator[Callable[[], None]]:
    """A progress bar without a table: call what it gives once for each of ``total`` batches.

    It disappears at the end; where only plain lines can be written, there is none.
    """
    display = display_for(quiet, file)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if display.wants():
            display.progress(done)

    try:
        display.count(title, total)
        yield advance
    finally:
        display.end()
