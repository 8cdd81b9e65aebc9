"""A study in one table and a few sentences, for a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from ravine.comparison._judge.number_text import count
from ravine.comparison._report.note_sentences import notes
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.result_table import result_table
from ravine.plotting._tables import FittedTable, table

_LEFT_OUT = ("test loss", "diverged in tuning")  # a terminal is narrow, and the sentences say it


def results(data: ReportData) -> FittedTable:
    """The table of results, the best first, for ``console.print``."""
    heads, rows = result_table(data, left_out=_LEFT_OUT)
    # each number of a best point stands in a line of its own, and so does what a mean is over
    rows = [[row[0], row[1].replace(", ", "\n"), *(cell.replace(" (", "\n(") for cell in row[2:])] for row in rows]
    return table(heads, rows, _title(data))


def text(data: ReportData) -> str:
    """The verdict, the table, as wide as the terminal at most, and the sentences."""
    console = Console(file=io.StringIO(), color_system=None)
    console.print(results(data))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join([data.judgement.sentence, "", *(line.rstrip() for line in lines), *notes(data)])


def _title(data: ReportData) -> str:
    """What was compared, in one line."""
    spec = data.spec
    return (
        f"{spec.task}: {count(len(spec.optimizers), 'optimizer')}, {count(spec.points, 'point')}, "
        f"{count(spec.seeds, 'fresh seed')}, {count(spec.steps, 'step')}"
    )
