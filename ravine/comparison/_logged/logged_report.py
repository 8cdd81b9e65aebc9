"""The files of a report on logged runs: text, pictures, and a page that loads nothing."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ravine._plotting.html import rendered
from ravine._plotting.style import png
from ravine.comparison._judge.number_text import diverged_text
from ravine.comparison._logged import logged_data as shown
from ravine.comparison._logged.judged_runs import JudgedRuns
from ravine.comparison._logged.logged_data import LOGGED_CAPTIONS
from ravine.comparison._report.figure_data import curves_ceiling
from ravine.comparison._report.figure_style import brief
from ravine.comparison._report.forest_plots import differences_figure, target_figure
from ravine.comparison._report.line_figures import curves_figure
from ravine.comparison._report.markdown_syntax import captioned, code, fenced, prose

_TITLE = "logged runs"


def logged_contents(result: JudgedRuns, command: str = "") -> Iterator[tuple[str, bytes]]:
    """Name and content of report.md, the pictures, and report.html with the pictures in it.

    Args:
        result: what is shown.
        command: what makes the report again.
    """
    yield "report.md", logged_markdown(result, command).encode()
    pictures = {name: png(LOGGED_DRAWERS[name](result)) for name in shown.logged_figures(result)}
    for name, content in pictures.items():
        yield f"{name}.png", content
    yield "report.html", logged_page(result, pictures, command)


def logged_markdown(result: JudgedRuns, command: str = "") -> str:
    """All of report.md; the pictures are expected beside it."""
    explained = shown.explained(result)
    labels, tables = list(result.judged), (shown.curve_ends(result), shown.target(result))
    parts = [
        f"# {shown.title(result)}",
        f"**{prose(result.sentence, labels)}**",
        *(["\n".join(f"- {prose(note, labels)}" for note in result.notes)] if result.notes else []),
        "## Results",
        *captioned(shown.results(result)),
        "## Each against the best of the others",
        *captioned(shown.against_the_best(result)),
        *(
            part
            for head, one in zip(("## Curves", "## Target"), tables, strict=True)
            if one
            for part in (head, *captioned(one))
        ),
        "## Figures",
        *(
            f"![{LOGGED_CAPTIONS[name]}]({name}.png)\n\n{prose(explained[name])}"
            for name in shown.logged_figures(result)
        ),
        "## What was read",
        "\n".join(f"- {code(file)}" for file in result.files),
        *(["To judge it again:", fenced(command, "sh")] if command else []),
    ]
    return "\n\n".join(parts) + "\n"


def logged_page(result: JudgedRuns, pictures: Mapping[str, bytes], command: str = "") -> bytes:
    """The page in UTF-8.

    Args:
        result: what it shows.
        pictures: the figures as PNGs, by name.
        command: what makes the report again.
    """
    return rendered(
        "logged.html",
        "comparison/_report/templates",
        title=shown.title(result),
        sentence=result.sentence,
        notes=result.notes,
        labels=list(result.judged),
        result=result,
        explained=shown.explained(result),
        results=shown.results(result),
        differences=shown.against_the_best(result),
        curves=shown.curve_ends(result),
        target=shown.target(result),
        command=command,
        pictures={name: base64.b64encode(content).decode() for name, content in pictures.items()},
    )


def _differences(result: JudgedRuns) -> Any:
    one, metric = result.differences, result.metric.name
    ranked = [row.label for row in one.rows]
    confidence = "" if shown.some_diverged(result) else shown.confidence(result)
    return differences_figure(one, metric, list(result.judged), ranked, _TITLE, confidence)


def _curves(result: JudgedRuns) -> Any:
    bands, higher = shown.logged_bands(result), result.metric.higher_is_better
    lost = {
        name: diverged_text(n, len(runs))
        for name, runs in result.judged.items()
        if (n := sum(run.diverged for run in runs))
    }
    most = math.inf if higher else curves_ceiling(bands)
    title = f"{_TITLE}: median and range"
    every, goal = list(result.judged), result.target if result.steps else None
    return curves_figure(bands, "value", every, title, lost, goal, most, logarithmic=not higher)


def _target(result: JudgedRuns) -> Any:
    ranked = [row.label for row in result.differences.rows]
    return target_figure(result.steps, list(result.judged), ranked, _TITLE, f"a value of {brief(result.target or 0.0)}")


#: What draws each figure, by its name.
LOGGED_DRAWERS: Mapping[str, Callable[[JudgedRuns], Any]] = {
    "differences": _differences,
    "curves": _curves,
    "target": _target,
}
