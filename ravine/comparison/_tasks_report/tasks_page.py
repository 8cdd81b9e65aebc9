"""The report of several tasks as one page of HTML that loads nothing; links lead to the page of each task."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from ravine._plotting.html import rendered
from ravine.comparison._tasks_report import tasks_data as tables
from ravine.comparison._tasks_report.tasks_data import NORMALIZED, TasksData


def tasks_page(data: TasksData, pictures: Mapping[str, bytes]) -> bytes:
    """The page in UTF-8.

    Args:
        data: what it shows.
        pictures: the figures as PNGs, by name.
    """
    return rendered(
        "tasks.html",
        "comparison/_report/templates",
        title=data.title,
        sentence=data.together.sentence,
        notes=data.together.notes,
        data=data,
        together=data.together,
        normalized=NORMALIZED,
        results=tables.results(data),
        by_task=tables.by_task(data),
        few_points=tables.few_points(data),
        improvement=tables.improvement(data),
        profiles=tables.profiles(data),
        pictures={name: base64.b64encode(content).decode() for name, content in pictures.items()},
    )
