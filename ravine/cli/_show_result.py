"""What a comparison found, on the terminal, and its files."""

from __future__ import annotations

import click
from rich.console import Console

from ravine.comparison._report import terminal_report
from ravine.comparison._result import Result


def show_result(result: Result) -> None:
    """Print verdict, table and notes, write the report, and say where it is."""
    terminal_report.show(result.report, Console())
    write_report(result)


def write_report(result: Result) -> None:
    """Write the report, or of a study that cannot be judged yet what there is of it."""
    for path in result.write():
        click.echo(f"Wrote {path}")
