"""Several tasks in a notebook: the answer, the tables, and a sentence for each task."""

from __future__ import annotations

from html import escape

from ravine._plotting.notebook_html import output, paragraph
from ravine.comparison._report.notebook_report import titled_table
from ravine.comparison._tasks_report import tasks_data as tables
from ravine.comparison._tasks_report.tasks_data import TasksData


def tasks_html(data: TasksData) -> str:
    """A part of a page of HTML; names are text, whatever stands in them."""
    together = data.together
    sentences = [f"{task}: {judgement.sentence}" for task, judgement in data.judgements.items()]
    sentences += [together.unseen, *(f"Note: {note}" for note in together.notes)]
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    few = paragraph("With few points to tune (✓ may be the best):", soft=False) if together.few_points else ""
    return output(
        together.sentence,
        titled_table(tables.results(data), data.differences),
        few,
        titled_table(tables.few_points(data)) if few else "",
        f"<ul>{items}</ul>",
    )
