"""The table of all trainings, with what the browser sorts by, and those that failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ravine.comparison._judge.number_text import count, listed
from ravine.comparison._report.report_data import ReportData, TrialRow
from ravine.comparison._report.report_tables import short
from ravine.comparison._study.trial import Trial, TrialResult


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
class TrialTable:
    """All trainings: of each row the place of its optimizer, its cells and its key."""

    columns: Sequence[Column]
    rows: Sequence[tuple[int, Sequence[Cell], str]]


@dataclass(frozen=True)
class Failure:
    """An error: its last line with how many trainings had it, the traceback, and which trainings these are."""

    summary: str
    error: str
    trainings: Sequence[str]


def trial_table(data: ReportData) -> TrialTable:
    """All trainings that are done, tuning first."""
    places = {label: index for index, label in enumerate(data.labels)}
    searched = list(data.sensitivity)
    metrics = list(dict.fromkeys(name for row in data.trials for name in row.result.metrics))
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
        trial, result = row.trial, row.result
        cells = [
            Cell(trial.label),
            Cell(trial.kind),
            Cell(str(trial.seed), trial.seed),
            *(_number(trial.point.get(name, math.nan)) for name in searched),
            _number(math.nan if result.diverged else result.score),
            *(_number(result.metrics.get(name, math.nan)) for name in metrics),
            Cell(_state(result)),
        ]
        rows.append((places[trial.label], cells, row.key))
    return TrialTable(columns, rows)


def failures(data: ReportData) -> list[Failure]:
    """The errors that trainings raised; those with the same traceback are one."""
    by_error: dict[str, list[TrialRow]] = {}
    for row in data.trials:
        if row.result.error:
            by_error.setdefault(row.result.error, []).append(row)
    return [
        Failure(
            f"{last_line(error)} "
            f"({count(len(rows), 'training')} of {listed(list(dict.fromkeys(row.trial.label for row in rows)))})",
            error,
            [
                f"{row.trial.label}, {row.trial.kind}, seed {row.trial.seed}{_point(row.trial)}, key {row.key}"
                for row in rows
            ],
        )
        for error, rows in by_error.items()
    ]


def last_line(traceback: str) -> str:
    """What an error says: the last line of its traceback that is not empty."""
    return next((line for line in reversed(traceback.splitlines()) if line.strip()), "an error without a text")


def _number(value: float) -> Cell:
    return Cell(short(value, 4), float(f"{value:.9g}")) if math.isfinite(value) else Cell("–")


def _state(result: TrialResult) -> str:
    return "failed" if result.error else "diverged" if result.diverged else "finished"


def _point(trial: Trial) -> str:
    return "".join(f", {name} {short(value, 4)}" for name, value in trial.point.items())
