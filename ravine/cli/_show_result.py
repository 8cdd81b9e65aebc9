"""What a comparison found, on the terminal, and its files."""

from __future__ import annotations

import click
from rich.console import Console

from ravine.comparison._report import terminal_report
from ravine.comparison._report.note_sentences import notes
from ravine.comparison._result import Result


def show_result(result: Result) -> None:
    """Print table, verdict and warnings, write the report, and say where it is."""
    console = Console()
    console.print(terminal_report.results(result.report))
    for sentence in (result.judgement.sentence, *notes(result.report)):
        # on a terminal between words; a file gets a line for each
        console.print(sentence, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    write_report(result)


def write_report(result: Result) -> None:
    """Write the report, or of a study that cannot be judged yet what there is of it."""
    for path in result.write():
        click.echo(f"Wrote {path}")
