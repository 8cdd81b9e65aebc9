"""A study on a terminal: the verdict, one table, and a few sentences."""

from __future__ import annotations

import io

from rich.console import Console

from ravine._plotting.terminal_tables import FittedTable, table
from ravine.comparison._judge.number_text import count, listed
from ravine.comparison._report.note_sentences import notes
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.result_table import AGAINST, SORTED_BY, far_out, missing_last, result_table

#: A terminal is narrow: these stand in the report only.
_LEFT_OUT = ("typical point", "median steps", "test loss", "ms per step", "diverged in tuning")
_LINES = {AGAINST: "against the\nbest of the\nothers"}  # of a head


def show(data: ReportData, console: Console) -> None:
    """Print the verdict, the table, as wide as the terminal at most, and the notes."""
    _say(data.judgement.sentence, console)
    console.print()
    _say(_title(data), console)
    console.print(results(data))
    for sentence in [*_far_out(data), *_elsewhere(data), *notes(data)]:
        _say(sentence, console)


def text(data: ReportData) -> str:
    """The same as text."""
    console = Console(file=io.StringIO(), color_system=None)
    show(data, console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def results(data: ReportData) -> FittedTable:
    """The table of results, for ``console.print``."""
    heads, rows = result_table(data, left_out=_LEFT_OUT)
    # what a mean is over stands in a line of its own
    rows = [[row[0], *(cell.replace(" (", "\n(") for cell in row[1:])] for row in rows]
    losses = data.judgement.losses
    best = [] if losses is None else [place for place, row in enumerate(rows) if row[0] in losses.top]
    return table([_LINES.get(head, head) for head in heads], rows, best=best)


def _title(data: ReportData) -> str:
    """What was compared, in one line."""
    spec, points = data.spec, max(entry.points for entry in data.optimizers)
    seeds, tuned = count(max(row.runs for row in data.results), "seed"), any(e.searched for e in data.optimizers)
    order = f"; {SORTED_BY}{missing_last(data)}" if len(spec.optimizers) > 1 else ""
    more = f" and {points - spec.points} more at the edge" * (points > spec.points)
    return (
        f"{spec.task}: {count(len(spec.optimizers), 'optimizer')}, {count(spec.points, 'point') + more + ', ' if tuned else ''}{seeds}, "
        f"{count(spec.steps, 'step')}{order}"
    )


def _far_out(data: ReportData) -> list[str]:
    outside = far_out(data)
    return [f"{outside}."] if outside else []


def _elsewhere(data: ReportData) -> list[str]:
    """Which columns the report has beside these."""
    heads, _ = result_table(data)
    left_out = [head for head in heads if head in _LEFT_OUT]
    return [f"The report also has: {listed(left_out)}."] if left_out else []


def _say(sentence: str, console: Console) -> None:
    # on a terminal between words; a file gets a line for each
    console.print(sentence, markup=False, highlight=False, soft_wrap=not console.is_terminal)
