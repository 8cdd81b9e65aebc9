"""What is seen of a study while it runs: trials done, the time left, and the best so far of every optimizer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ravine._plotting.progress_lines import ProgressLines
from ravine._plotting.terminal_tables import table
from ravine.comparison._judge.number_text import count
from ravine.comparison._study.stages import Stage
from ravine.comparison._study.study_progress import progress_of
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.tuning import Results


class LiveView:
    """A display on standard error that is redrawn; where that is no terminal, a line now and then.

    Args:
        spec: the study's.
        title: stands before what it does, such as the task of several.
        lines: when a line is due.
    """

    def __init__(self, spec: StudySpec, title: str = "", lines: ProgressLines | None = None) -> None:
        self.spec, self.title = spec, f"{title}: " if title else ""
        console = Console(stderr=True)
        self._on = console.is_terminal or console.is_jupyter
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._console, self._lines = console, ProgressLines() if lines is None else lines
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        if self._on:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._on:
            self._live.stop()

    def update(self, now: Stage, results: Results) -> None:
        """Show how far the study is."""
        self._begun(results, time.monotonic())
        if self._on:
            self._live.update(self.shown(now, results, time.monotonic()), refresh=True)
        elif self._lines.due():
            line = self.line(now, results, time.monotonic())
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._lines.written()

    def shown(self, now: Stage, results: Results, clock: float) -> Group:
        """What is shown at that time, in seconds."""
        total, left = self._total_and_left(now, results, clock)
        head = Table.grid(padding=(0, 1))
        head.add_row(Text(f"{len(results)} of {total}"), ProgressBar(total, len(results), width=30), Text(left))
        return Group(Text(self.title + doing(self.spec, now)), head, table(*best_so_far(self.spec, now, results)))

    def line(self, now: Stage, results: Results, clock: float) -> str:
        """The same in a line, without what is best so far."""
        total, left = self._total_and_left(now, results, clock)
        since, _ = self._begun(results, clock)
        done = f"{len(results)} of about {count(total, 'training')} after {_minutes(clock - since)}"
        return f"{self.title}{', '.join(filter(None, [done, left]))}. {doing(self.spec, now)}"

    def _total_and_left(self, now: Stage, results: Results, clock: float) -> tuple[int, str]:
        """About how many trainings there are, and the time that the rest takes."""
        total = progress_of(self.spec, now, results).total
        since, before = self._begun(results, clock)
        return total, _left(clock - since, len(results) - before, total - len(results))

    def _begun(self, results: Results, clock: float) -> tuple[float, int]:
        """When this began, and how many were done then."""
        if self._first is None:
            self._first = clock, len(results)
        return self._first


def doing(spec: StudySpec, now: Stage) -> str:
    """What a stage does, in one line."""
    seeds = f"{count(now.seeds, 'seed')} of {count(len(now.active), 'optimizer')}"
    if now.name == "tune":
        return f"Tuning with {count(spec.points, 'point')}: {seeds}"
    if now.name == "expand":
        return f"Best points are at an edge: {count(spec.extra_points, 'extra point')} for each tuning"
    if now.name == "final":
        return f"Fresh runs at the best points: {seeds}"
    return "Timing one step (nothing else running)"


def _left(seconds: float, done: int, rest: int) -> str:
    """The time that the rest takes if it goes on as before."""
    if not done or not rest:
        return ""
    return f"{_minutes(seconds / done * rest)} left"


def _minutes(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    whole = round(seconds)
    minutes = f"{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{minutes}:{whole % 60:02}"


def best_so_far(spec: StudySpec, now: Stage, results: Results) -> tuple[list[str], list[list[str]]]:
    """The heads and rows of the table of what is best so far, by single trials; the best optimizer first."""
    rows = []
    for tuning in now.tunings:
        trials = [trial for number in range(now.seeds) for trial in tuning.trials(spec, number, results)]
        tried = [(results[key], t) for t in trials if (key := t.key(spec)) in results]
        whole = [(r.score, t.point) for r, t in tried if t.kind == "tune"]
        score, point = min(whole, key=lambda pair: pair[0], default=(math.inf, {}))
        failed = sum(bool(r.error) for r, _ in tried)
        diverged = sum(r.diverged and not r.error for r, _ in tried)
        best = [f"{score:.4g}", point_text(point)] if math.isfinite(score) else ["", ""]
        rows.append((score, [tuning.config.label, *best, str(len(tried)), str(diverged or ""), str(failed or "")]))
    rows.sort(key=lambda row: row[0])
    return ["optimizer", "best loss", "at", "trials", "diverged", "failed"], [cells for _, cells in rows]


def point_text(point: Mapping[str, float]) -> str:
    """``lr 0.01, alpha 0.9``."""
    return ", ".join(f"{name} {value:.3g}" for name, value in point.items())
