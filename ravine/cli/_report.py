"""``ravine report STUDY``: the report of a study as its storage has it, also while the study still runs."""

from __future__ import annotations

from pathlib import Path

import click

from ravine.cli._screen import say
from ravine.cli._show_result import show_result, write_report
from ravine.comparison._api import load_study
from ravine.comparison._study.location import Location, moved
from ravine.comparison._tasks_result import TasksResult

_NOT_YET = 1  # apart from 2, a mistake: a script can wait while it gets this

_HELP = """Redraw the report of a study from its storage. Nothing is trained.

STUDY is the name of a study (what `ravine compare --study` was given, or else the name of its folder in ravine-out), or the
path of its folder. A study that is still running is judged by the seeds that every optimizer has finished, and the first line shows its progress.
If nothing can be judged yet, only results.json and results.csv are written, and the exit code is 1.
"""


@click.command(name="report", help=_HELP)
@click.argument("study")
@click.option(
    "--storage",
    metavar="URL",
    envvar="RAVINE_STORAGE",
    help="Where the study is stored: postgresql://..., or a journal file; default: study.journal in the report folder.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Report folder; default: ravine-out/STUDY.")
@click.pass_context
def command(context: click.Context, study: str, storage: str | None, out: Path | None) -> None:
    result = load_study(study, storage=storage, out=out)
    if isinstance(result, TasksResult):
        if any(each.record.stage.name != "done" for each in result.tasks.values()):
            say(result.progress)
        if result.judgeable:
            show_result(result)
            return
        write_report(result)
        say(f"ravine: {result.missing_text}", err=True)
        context.exit(_NOT_YET)
    record = result.record
    if record.stage.name != "done":
        say(record.progress.sentence)
    if record.judgeable:
        show_result(result)
        return
    write_report(result)
    say(f"ravine: Nothing can be judged yet. {record.missing_text}", err=True)
    if record.origin.command and result.folder is not None:  # which may be another folder than when the study was made
        place = Location(record.origin.study, record.origin.storage, result.folder)
        say(f"If nothing trains it now, resume it: {moved(record.origin.command, place)}", err=True, wrap=False)
    context.exit(_NOT_YET)
