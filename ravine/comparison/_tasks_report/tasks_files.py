"""The files of a report of several tasks; the text first, where a picture may fail."""

from __future__ import annotations

from collections.abc import Iterator

from ravine.comparison._tasks_report.tasks_data import TasksData
from ravine.comparison._tasks_report.tasks_figures import tasks_pngs
from ravine.comparison._tasks_report.tasks_markdown import tasks_markdown
from ravine.comparison._tasks_report.tasks_page import tasks_page


def tasks_contents(data: TasksData) -> Iterator[tuple[str, bytes]]:
    """Name and content of report.md, the pictures, and report.html with the pictures in it."""
    yield "report.md", tasks_markdown(data).encode()
    pictures = dict(tasks_pngs(data))
    for name, content in pictures.items():
        yield f"{name}.png", content
    yield "report.html", tasks_page(data, pictures)
