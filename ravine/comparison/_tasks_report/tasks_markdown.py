"""The report of several tasks as GitHub-flavoured Markdown."""

from __future__ import annotations

from ravine.comparison._report.markdown_syntax import captioned, code, fenced, prose
from ravine.comparison._tasks_report import tasks_data as tables
from ravine.comparison._tasks_report.tasks_data import NORMALIZED, TasksData
from ravine.comparison._tasks_report.tasks_figures import tasks_figures

_CAPTIONS = {
    "over-tasks": "Each against the best of the others, over the tasks",
    "profiles": "Performance profiles",
    "few-points": "Normalized score by number of points",
}


def tasks_markdown(data: TasksData) -> str:
    """All of report.md; the pictures are expected beside it, and the reports of the tasks in folders."""
    together, labels = data.together, data.labels
    few = tables.few_points(data)
    parts = [
        f"# {data.title}",
        f"**{prose(together.sentence, labels)}**",
        prose(together.unseen, labels),
        *(["\n".join(f"- Note: {prose(note, labels)}" for note in together.notes)] if together.notes else []),
        "## Over the tasks",
        prose(NORMALIZED),
        *captioned(tables.results(data)),
        "## Each task",
        "\n".join(
            f"- [{code(task)}]({task}/report.md): {prose(one.sentence, labels)}"
            for task, one in data.judgements.items()
        ),
        *captioned(tables.by_task(data)),
        *(["## With few points to tune", *captioned(few)] if together.few_points else []),
        "## Probability of improvement",
        *captioned(tables.improvement(data)),
        *(["## Performance profiles", *captioned(tables.profiles(data))] if together.profiles else []),
        "## Figures",
        *(f"![{_CAPTIONS[name]}]({name}.png)" for name in tasks_figures(data)),
        *(["## How to repeat it", fenced(data.command, "sh")] if data.command else []),
    ]
    return "\n\n".join(parts) + "\n"
