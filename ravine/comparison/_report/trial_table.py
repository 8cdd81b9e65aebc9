"""The table of all trainings, with what the browser sorts by, and those that failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ravine.comparison._judge.number_text import count, listed
from ravine.comparison._report.report_data import ReportData, TrialRow
from ravine.comparison._report.report_tables import short
from ravine.comparison._study.trial import Job, Outcome


@dataclass(frozen=True)
class Cell:
    """What a cell says, and the number that it is sorted by; None for text, and for what has none."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Column:
    """A heading, and whether numbers stand below it."""

    name: str
    numeric: bool = True


@dataclass(frozen=True)
class Trials:
    """All trainings: of each row the place of its optimizer, its cells and its key."""

    columns: Sequence[Column]
    rows: Sequence[tuple[int, Sequence[Cell], str]]


@dataclass(frozen=True)
class Failure:
    """An error: its last line with how many trainings had it, the traceback, and which trainings these are."""

    summary: str
    error: str
    trainings: Sequence[str]


def trial_table(data: ReportData) -> Trials:
    """All trainings that are done, tuning first."""
    places = {label: index for index, label in enumerate(data.labels)}
    searched = list(data.sensitivity)
    metrics = list(dict.fromkeys(name for row in data.trials for name in row.outcome.metrics))
    columns = [
        Column("optimizer", False),
        Column("kind", False),
        Column("seed"),
        *map(Column, searched),
        Column("validation loss"),
        *map(Column, metrics),
        Column("state", False),
    ]
    rows = []
    for row in data.trials:
        job, outcome = row.job, row.outcome
        cells = [
            Cell(job.label),
            Cell(job.kind),
            Cell(str(job.seed), job.seed),
            *(_number(job.point.get(name, math.nan)) for name in searched),
            _number(math.nan if outcome.diverged else outcome.score),
            *(_number(outcome.metrics.get(name, math.nan)) for name in metrics),
            Cell(_state(outcome)),
        ]
        rows.append((places[job.label], cells, row.key))
    return Trials(columns, rows)


def failures(data: ReportData) -> list[Failure]:
    """The errors that trainings raised; those with the same traceback are one."""
    found: dict[str, list[TrialRow]] = {}
    for row in data.trials:
        if row.outcome.error:
            found.setdefault(row.outcome.error, []).append(row)
    return [
        Failure(
            f"{last_line(error)} "
            f"({count(len(rows), 'training')} of {listed(list(dict.fromkeys(row.job.label for row in rows)))})",
            error,
            [f"{row.job.label}, {row.job.kind}, seed {row.job.seed}{_point(row.job)}, key {row.key}" for row in rows],
        )
        for error, rows in found.items()
    ]


def last_line(traceback: str) -> str:
    """What an error says: the last line of its traceback that is not empty."""
    return next((line for line in reversed(traceback.splitlines()) if line.strip()), "an error without a text")


def _number(value: float) -> Cell:
    return Cell(short(value, 4), float(f"{value:.9g}")) if math.isfinite(value) else Cell("–")


def _state(outcome: Outcome) -> str:
    return "failed" if outcome.error else "diverged" if outcome.diverged else "finished"


def _point(job: Job) -> str:
    return "".join(f", {name} {short(value, 4)}" for name, value in job.point.items())
