"""The figures of several tasks: against the best, performance profiles, scores by number of points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ravine._plotting.curve_lines import name_lines
from ravine._plotting.style import blank, png, tidy
from ravine.comparison._across.profiles import MOST
from ravine.comparison._report.figure_style import head, marker_styles, points_axis
from ravine.comparison._report.forest_plots import forest, name_rows
from ravine.comparison._tasks_report.tasks_data import TasksData

_SIZE = 9.5, 4.6  # inches
_WIDTH, _ROW, _REST = 9.5, 0.42, 1.6


def _title(data: TasksData, what: str) -> str:
    return f"{', '.join(data.judgements)}: {what}"


def over_tasks(data: TasksData) -> Any:
    """Each optimizer against the best of the others, over the tasks."""
    labels, styles = data.together.ranked, marker_styles(data.labels)
    figure = blank(_WIDTH, _REST + _ROW * len(labels))
    axes = figure.add_subplot()
    forest(axes, data.differences, labels, styles)
    axes.set_xlabel("normalized score minus that of the best of the others (left of the dashed line: worse)")
    name_rows(axes, labels)
    about = "Filled: may be the best; hollow: not the best. Grey band: too small to matter."
    head(figure, _title(data, "scores"), f"{about} All intervals hold jointly (95%), for these tasks.")
    return figure


def profiles(data: TasksData) -> Any:
    """How often each optimizer needs at most so many times the steps of the fastest."""
    styles, ends = marker_styles(data.labels), []
    figure = blank(*_SIZE)
    axes = figure.add_subplot()
    for name in data.labels:
        profile, line = data.together.profiles[name], styles[name].line
        at = np.concatenate([profile.ratios[profile.ratios <= MOST], [MOST]])
        heights = [profile.at(float(ratio)) for ratio in at]
        axes.step(at, heights, where="post", **line.options())
        ends.append((name, heights[-1], line))
    axes.set_xlim(1, MOST)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("steps to the target, as a multiple of the fastest optimizer's with the same seed")
    axes.set_ylabel("share of runs")
    tidy(axes)
    head(
        figure,
        _title(data, "performance profiles"),
        "Higher is better: at the left the share of runs that are the fastest, at the right those that are not too slow.",
    )
    name_lines(axes, ends)
    return figure


def few_points(data: TasksData) -> Any:
    """The mean score after tuning with so many points."""
    styles, few, ends = marker_styles(data.labels), data.together.few_points, []
    figure = blank(*_SIZE)
    axes = figure.add_subplot()
    for name in data.labels:
        style, scores = styles[name], [one.score(name) for one in few.values()]
        axes.plot(list(few), scores, **{**style.line.options(), **style.marks(), "linestyle": style.line.dashes})
        ends.append((name, scores[-1], style.line))
    points_axis(axes, list(few))
    axes.set_ylabel("mean normalized score")
    tidy(axes)
    head(
        figure,
        _title(data, "scores by the size of the tuning"),
        "Fresh runs at the best of the first N points of each tuning: 1 is the best tuning, 0 nothing learned.",
    )
    name_lines(axes, ends)
    return figure


#: What draws each figure, by its name.
TASKS_DRAWERS: Mapping[str, Callable[[TasksData], Any]] = {
    "over-tasks": over_tasks,
    "profiles": profiles,
    "few-points": few_points,
}


def tasks_figures(data: TasksData) -> list[str]:
    """The names of the figures that there are numbers for."""
    there = {
        "over-tasks": True,
        "profiles": bool(data.together.profiles),
        "few-points": len(data.together.few_points) > 1,
    }
    return [name for name, wanted in there.items() if wanted]


def tasks_pngs(data: TasksData) -> Iterator[tuple[str, bytes]]:
    """Name and content of each figure."""
    for name in tasks_figures(data):
        yield name, png(TASKS_DRAWERS[name](data))
