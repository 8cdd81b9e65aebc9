"""The display of a notebook: one output that is updated in place, an answer first, then the curve and the table of epochs.

Needs only IPython, no widgets. All text is escaped.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from ravine._plotting.notebook_html import beside, output, paragraph
from ravine.train._best_epoch import VALID, best_epoch_text
from ravine.train._display.cells import Layout, clock, duration, number, plain
from ravine.train._display.epoch_output import (
    epoch_row,
    head_row,
    loss_picture,
    said_row,
    table_of,
)
from ravine.train._display.loss_track import LossTrack
from ravine.train._display.redrawn import Pace, Redrawn

#: Rows that are shown while the training runs, so that a redraw costs the same in the last epoch as in the first.
_RUNNING = 8


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook, and not IPython in a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)


class Notebook(Redrawn):
    """Shows a training in the output of the running cell, as HTML and as plain text."""

    def __init__(self, pace: Pace | None = None) -> None:
        super().__init__(pace)
        self._columns: Sequence[str] = ()
        self._before: list[str] = []  # what was said before the table
        self._html: list[str] = []
        self._text: list[str] = []
        self._epochs: list[dict[str, Any]] = []
        self._running = self._alone = False
        self._answer = ""
        self._losses: Callable[[int], Sequence[float]] = lambda _: ()
        self._track = LossTrack()
        self._done_before = 0
        self._ends: list[tuple[int, float]] = []  # steps, and the epochs that were done after them
        self._handle: Any = None

    def follow(self, losses: Callable[[int], Sequence[float]], done: int) -> None:
        self._losses, self._done_before = losses, done

    def begin(self, columns: Sequence[str], epochs: int, first: int = 1) -> None:
        super().begin(columns, epochs, first)
        self.columns(columns)
        self._first = first
        self._running = True
        self._draw()

    def columns(self, columns: Sequence[str]) -> None:
        self._layout = Layout(columns, self._progress.epochs)
        self._columns = columns
        self._text += self._layout.header()
        self._html.append(head_row(columns))

    def count(self, title: str, total: int) -> None:
        super().count(title, total)
        self._running = self._alone = True
        self._draw()

    def row(self, cells: Sequence[object]) -> None:
        super().row(cells)
        self._text += self._layout.row(cells)
        self._html.append(epoch_row(self._columns, cells))
        self._take_losses()
        self._ends.append((self._track.count, float(self._progress.epoch)))
        self._epochs.append(dict(zip(self._columns, cells, strict=True)))
        self._draw_for("row")

    def say(self, sentence: str) -> None:
        self._text.append(sentence)
        if self._columns:
            self._html.append(said_row(sentence, len(self._columns)))
        else:
            self._before.append(sentence)
        self._draw()

    def answer(self, sentence: str) -> None:
        self._text.append(sentence)
        lost = next(
            (n for n in ("train_loss", VALID) if self._epochs and not math.isfinite(self._epochs[-1].get(n, 0.0))), ""
        )
        self._answer = f"{sentence}; {lost} ended as {float(self._epochs[-1][lost])}" if lost else sentence
        self._draw()

    def end(self) -> None:
        super().end()
        if self._running:
            self._running = False
            self._draw()

    # --- what is drawn -------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        from IPython.display import display

        text = [plain(line) for line in (self._text[-_RUNNING:] if self._running else self._text)]
        if self._running:
            text.append(self._facts())
        html = self._page()
        bundle = {"text/plain": "\n".join(text), "text/html": html}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def _page(self) -> str:
        """The answer so far, the bar while it runs, the curve and the table."""
        if self._alone:
            return output("", _bar(self._progress.fraction, self._facts())) if self._running else ""
        facts = self._progress.facts()
        line = "  ".join(filter(None, (facts["count"], facts["rate"], facts["lr"])))
        shown = self._html if not self._running else [*self._html[:1], *self._html[1:][-_RUNNING:]]
        return output(
            self._answer or (self._now() if self._running else self._ended()),
            _bar(self._progress.fraction, line) if self._running else "",
            *(paragraph(sentence) for sentence in self._before),
            beside(self._curve(), table_of(shown)),
        )

    def _facts(self) -> str:
        return "  ".join([self._progress.head, *filter(None, self._progress.facts().values())])

    def _now(self) -> str:
        """The loss now, the best so far, the time left."""
        progress = self._progress
        parts = [f"Epoch {progress.epoch} of {progress.epochs}"]
        if progress.loss is not None:
            parts[0] += f": loss {number(progress.loss)}"
        left = progress.left
        parts += [best_epoch_text(self._epochs), f"{clock(left + 0.5)} left" if left is not None else ""]
        return "; ".join(filter(None, parts))

    def _ended(self) -> str:
        """How it ended, where nobody said so: after one epoch, or by an error."""
        if not self._columns:
            return ""
        if self._progress.epoch < self._progress.epochs or not self._epochs:
            return f"Ended in epoch {self._progress.epoch} of {self._progress.epochs}"
        last = self._epochs[-1]
        names = [name for name in ("train_loss", VALID) if name in last]
        losses = ", ".join(f"{name} {number(float(last[name]))}" for name in names)
        return f"Epoch {last['epoch']} in {duration(float(last['time']))}: {losses}" if "time" in last else losses

    def _take_losses(self) -> None:
        self._track.add(self._losses(self._track.count))

    def _curve(self) -> str:
        """The losses of this run; over epochs if their length is known, else over steps."""
        if not self._columns:
            return ""
        self._take_losses()
        steps, losses = self._track.points()
        batches = self._progress.batches or (self._ends[0][0] + self._done_before if self._ends else 0)
        valid = [row.get(VALID) for row in self._epochs]
        pairs = [(end, float(value)) for end, value in zip(self._ends, valid, strict=True) if value is not None]
        if not batches:
            return loss_picture(
                steps, losses, [(step, value) for (step, _), value in pairs], False, broken=self._track.broken
            )
        begin = self._first - 1.0
        ends = [(0, begin + self._done_before / batches), *self._ends]
        at = np.interp(steps, *np.array(ends, dtype=np.float64).T)
        late = steps > ends[-1][0]
        at[late] = ends[-1][1] + (steps[late] - ends[-1][0]) / batches
        last = float(self._progress.epochs) if self._running else 0.0
        placed = [(epoch, value) for (_, epoch), value in pairs]
        return loss_picture(at, losses, placed, True, last, self._track.broken, begin)


def _bar(fraction: float | None, facts: str) -> str:
    value = "" if fraction is None else f' value="{fraction:.4f}"'
    text = f'<span class="soft" style="white-space: pre-wrap">{escape(facts)}</span>'
    return f'<div><progress max="1"{value}></progress> {text}</div>'
