"""Several tasks on a terminal: the answer, the tables, and a sentence for each task."""

from __future__ import annotations

import io

from rich.console import Console

from ravine._plotting.terminal_tables import table
from ravine.comparison._tasks_report import tasks_data as tables
from ravine.comparison._tasks_report.tasks_data import TasksData


def show_tasks(data: TasksData, console: Console) -> None:
    """Print the answer, the tables, as wide as the terminal at most, and what each task says alone."""
    together = data.together
    _say(together.sentence, console)
    console.print()
    _say(f"{data.title}; sorted by the mean normalized score (0 nothing learned, 1 the best tuning)", console)
    shown = tables.results(data)
    kept = [i for i, head in enumerate(shown.columns) if head != "verdict"]  # the first line has it
    heads = [_lines(shown.columns[i]) for i in kept]
    rows = [[row[i].replace(" (", "\n(") for i in kept] for row in shown.rows]
    best = [place for place, row in enumerate(shown.rows) if row[0] in together.with_best.top]
    console.print(table(heads, rows, best=best))
    if together.few_points:
        _say("With few points to tune (✓ may be the best):", console)
        few = tables.few_points(data)
        console.print(table(few.columns, few.rows))
    for task, judgement in data.judgements.items():
        _say(f"{task}: {judgement.sentence}", console)
    _say(together.unseen, console)
    for note in together.notes:
        _say(f"Note: {note}", console)


def tasks_text(data: TasksData) -> str:
    """The same as text."""
    console = Console(file=io.StringIO(), color_system=None)
    show_tasks(data, console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def _lines(head: str) -> str:
    return "against the\nbest of the\nothers" if head == tables.AGAINST else head


def _say(sentence: str, console: Console) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=not console.is_terminal)
