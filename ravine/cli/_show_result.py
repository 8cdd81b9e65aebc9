"""What a comparison found, on the terminal, and its files."""

from __future__ import annotations

from rich.console import Console

from ravine import _files as files
from ravine.cli._out_folder import say_written
from ravine.cli._screen import say
from ravine.comparison._report import terminal_report
from ravine.comparison._result import Result
from ravine.comparison._study.location import Location
from ravine.comparison._study.report_folder import check_folder
from ravine.comparison._tasks_report.tasks_terminal import show_tasks
from ravine.comparison._tasks_result import TasksResult


def show_result(result: Result | TasksResult) -> None:
    """Print verdict, table and notes, write the report, and say where it is."""
    if isinstance(result, TasksResult):
        show_tasks(result.report, Console())
    else:
        terminal_report.show(result.report, Console())
    write_report(result)


def write_report(result: Result | TasksResult) -> None:
    """Write the report, or of a study that cannot be judged yet what there is of it.

    Raises:
        OptionError: the folder has the report of another study, or cannot be written.
    """
    _check_folders(result)
    if result.folder is not None:  # before pictures are drawn that cannot be written
        files.claim(result.folder, force=True)
    written = [path.name for path in result.write()]
    if isinstance(result, TasksResult) and result.folder is not None:
        say(f"The report of each task is in {', '.join(str(result.folder / task) for task in result.tasks)}")
    to_open = next((name for name in ("report.html", "results.json") if name in written), written[0])
    if result.folder is not None:
        say_written(written, result.folder, to_open)


def _check_folders(result: Result | TasksResult) -> None:
    if result.folder is None:
        return
    if isinstance(result, Result):
        check_folder(Location(result.origin.study, result.origin.storage, result.folder), result.spec)
        return
    storage = next(iter(result.tasks.values())).origin.storage
    check_folder(Location(result.study, storage, result.folder))
    for each in result.tasks.values():
        _check_folders(each)
