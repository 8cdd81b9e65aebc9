"""The report as one page of HTML: the verdict first, then everything that it rests on, down to each training."""

from __future__ import annotations

from ravine.comparison._judge import Judgement
from ravine.comparison._judge.words import count
from ravine.comparison._report import described, figures, tables
from ravine.comparison._report.charts import charts
from ravine.comparison._report.protocol import protocol
from ravine.comparison._report.trials import failures, trials
from ravine.comparison._study.result import Result
from ravine.plotting._html import rendered


def page(result: Result, judgement: Judgement) -> bytes:
    """The page in UTF-8; it loads nothing.

    Args:
        result: a complete study.
        judgement: what it says.
    """
    labels, watched = [arm.label for arm in result.spec.arms], figures.ratios(result)
    return rendered(
        "report.html",
        "comparison/_report/templates",
        title=f"{result.spec.task}: {count(len(labels), 'optimizer')} compared",
        labels=labels,
        data=charts(result, judgement),
        explained=figures.EXPLAINED,
        judgement=judgement,
        protocol=protocol(result),
        results=tables.results(result, judgement),
        curves=tables.curves(result),
        sensitivity={name: tables.sensitivity(result, name) for name in figures.hyperparameters(result)},
        budget=tables.budget(judgement),
        target=tables.target(judgement),
        runs=tables.runs(judgement),
        differences={name: tables.differences(judgement, name) for name in judgement.pairs},
        watch=tables.watch(result),
        unwatched=[label for label in labels if label not in watched],
        seconds=tables.seconds(result),
        optimizers=described.optimizers(result),
        curses=tables.curses(judgement),
        failures=failures(result),
        trials=trials(result),
        declaration=described.declaration(result),
        spec=described.indented(result),
        about=result.about,
    )
