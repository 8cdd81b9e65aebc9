"""The table of all trainings, with what the browser sorts by, and those that failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ravine.comparison._judge.words import count, listed
from ravine.comparison._report.figures import hyperparameters
from ravine.comparison._report.tables import short
from ravine.comparison._study.result import Result
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


def trials(result: Result) -> Trials:
    """All trainings that are done, tuning first."""
    done = result.jobs()
    labels = {arm.label: index for index, arm in enumerate(result.spec.arms)}
    searched = hyperparameters(result)
    metrics = list(dict.fromkeys(name for _, outcome in done for name in outcome.metrics))
    columns = [
        Column("optimizer", False),
        Column("kind", False),
        Column("seed"),
        *map(Column, searched),
        Column("validation loss"),
        *map(Column, metrics),
        Column("state", False),
    ]
    rows = [
        (
            labels[job.label],
            [
                Cell(job.label),
                Cell(job.kind),
                Cell(str(job.seed), job.seed),
                *(_number(job.point.get(name, math.nan)) for name in searched),
                _number(math.nan if outcome.diverged else outcome.score),
                *(_number(outcome.metrics.get(name, math.nan)) for name in metrics),
                Cell(_state(outcome)),
            ],
            job.key(result.spec),
        )
        for job, outcome in done
    ]
    return Trials(columns, rows)


def failures(result: Result) -> list[Failure]:
    """The errors that trainings raised; those with the same traceback are one."""
    found: dict[str, list[Job]] = {}
    for job, outcome in result.jobs():
        if outcome.error:
            found.setdefault(outcome.error, []).append(job)
    return [
        Failure(
            f"{(error.strip().splitlines() or ['an error without a text'])[-1]} "
            f"({count(len(jobs), 'training')} of {listed(list(dict.fromkeys(job.label for job in jobs)))})",
            error,
            [f"{j.label}, {j.kind}, seed {j.seed}{_point(j)}, key {j.key(result.spec)}" for j in jobs],
        )
        for error, jobs in found.items()
    ]


def _number(value: float) -> Cell:
    return Cell(short(value, 4), float(f"{value:.9g}")) if math.isfinite(value) else Cell("–")


def _state(outcome: Outcome) -> str:
    return "failed" if outcome.error else "diverged" if outcome.diverged else "finished"


def _point(job: Job) -> str:
    return "".join(f", {name} {short(value, 4)}" for name, value in job.point.items())
