"""What is seen of a study while it runs: trainings done, the time left, and the best so far of every optimizer."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ravine.comparison._study.stages import Done, Stage
from ravine.comparison._study.study_spec import Spec
from ravine.plotting._tables import table

_DOING = {
    "tune": "tuning: every optimizer at as many points",
    "again": "the best points again, with more seeds",
    "widen": "a best point lies at an edge: more points for all",
    "confirm": "confirming the best points with fresh seeds",
    "done": "measuring seconds of a step, alone",
}


class View:
    """A display on standard error that is redrawn; nothing where that is no terminal.

    Args:
        spec: the study's.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        console = Console(stderr=True)
        self._on = console.is_terminal or console.is_jupyter
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._first: tuple[float, int] | None = None  # when the first look was, and how many were done then

    def __enter__(self) -> Self:
        if self._on:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._on:
            self._live.stop()

    def look(self, now: Stage, done: Done) -> None:
        """Show how far the study is."""
        if self._on:
            self._live.update(self.shown(now, done, time.monotonic()), refresh=True)

    def shown(self, now: Stage, done: Done, clock: float) -> Group:
        """What is shown at that time, in seconds."""
        total = max(len(done), expected(self.spec, now))
        if self._first is None:
            self._first = clock, len(done)
        since, before = self._first
        left = _left(clock - since, len(done) - before, total - len(done))
        head = Table.grid(padding=(0, 1))
        head.add_row(Text(f"{len(done)} of {total}"), ProgressBar(total, len(done), width=30), Text(left))
        return Group(Text(_DOING[now.name]), head, table(*_best(self.spec, now, done)))


def expected(spec: Spec, now: Stage) -> int:
    """How many trainings the study takes as far as is known: a best point at an edge will add some."""
    return sum(len(t.points) + min(spec.again, len(t.points)) * 2 + spec.seeds for t in now.tunings)


def _left(seconds: float, done: int, rest: int) -> str:
    """The time that the rest takes if it goes on as before."""
    if not done or not rest:
        return ""
    left = round(seconds / done * rest)
    return (
        f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        if left >= 3600
        else f"{left // 60}:{left % 60:02} left"
    )


def _best(spec: Spec, now: Stage, done: Done) -> tuple[list[str], list[list[str]]]:
    """The heads and rows of the table of what is best so far, by single trainings; the best optimizer first."""
    rows = []
    for tuning in now.tunings:
        label = tuning.arm.label
        seen = [(o, p) for p in tuning.points for o in tuning.outcomes(spec, p, done)]
        score, point = min(((o.score, p) for o, p in seen), key=lambda pair: pair[0], default=(math.inf, {}))
        failed = sum(bool(o.error) for o, _ in seen)
        lost = sum(o.diverged and not o.error for o, _ in seen)
        best = [f"{score:.4g}", _point(point)] if math.isfinite(score) else ["", ""]
        rows.append((score, [label, *best, str(len(seen)), str(lost or ""), str(failed or "")]))
    rows.sort(key=lambda row: row[0])
    return ["optimizer", "best loss", "at", "tried", "diverged", "failed"], [cells for _, cells in rows]


def _point(point: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in point.items())
