"""What a report of several tasks shows, and its tables: page, text and terminal only draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ravine.comparison._across import Aggregate, Estimate, ranks_of
from ravine.comparison._across.aggregate import SCORE
from ravine.comparison._across.profiles import MOST
from ravine.comparison._judge import Compared, Judgement
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._report.difference_data import Differences, differences
from ravine.comparison._report.report_tables import Table

#: What a normalized score is, for those who have never seen one.
NORMALIZED = (
    "A normalized score puts losses of different tasks on one scale: 0 is the median loss before the first step, 1 the best that "
    "tuning found on that task (the lowest median, over optimizers, of the best loss of a tuning). A run that diverged, or ended "
    "above its own start, counts as that start: about 0."
)
AGAINST = "against the best of the others"


@dataclass(frozen=True, eq=False, repr=False)
class TasksData:
    """What a report of several tasks shows.

    Attributes:
        study, command: its name, and what makes it again.
        labels: the optimizers in the order of the spec.
        judgements: what each task says alone, by its name.
        together: what they say together.
        differences: every optimizer against the best of the others, over the tasks.
    """

    study: str
    command: str
    labels: Sequence[str]
    judgements: Mapping[str, Judgement]
    together: Aggregate
    differences: Differences

    def __repr__(self) -> str:
        return f"TasksData({', '.join(self.judgements)}: {len(self.labels)} optimizers)"

    @property
    def title(self) -> str:
        """What was compared."""
        return f"{count(len(self.labels), 'optimizer')} compared on {count(len(self.together.tasks), 'task')}"


def tasks_data(
    study: str, command: str, labels: Sequence[str], judgements: Mapping[str, Judgement], together: Aggregate
) -> TasksData:
    """The data of a report: what is computed for it is computed here."""
    (shown,) = differences({SCORE.name: Compared(SCORE, together.with_best)}).values()
    return TasksData(study, command, labels, judgements, together, shown)


def results(data: TasksData) -> Table:
    """What every optimizer reached over the tasks, the best first."""
    together, rows = data.together, []
    for row in data.differences.rows:
        score = -together.with_best.standing(row.label).mean
        middle = estimate_text(together.interquartile[row.label])
        rows.append(
            [row.label, row.verdict, number(score, 3), row.interval_text, rank_text(together.ranks[row.label]), middle]
        )
    return Table(
        "Sorted by the mean normalized score, which the verdict is about. Intervals against the best of the others, and ranks, "
        "hold jointly with 95% confidence, for these tasks and other seeds; in brackets a 95% interval by itself",
        ("optimizer", "verdict", "normalized score", AGAINST, "rank", "interquartile mean"),
        rows,
    )


def by_task(data: TasksData) -> Table:
    """The normalized score and the possible ranks on each task."""
    together, ranks = data.together, {}
    for task in together.tasks:
        losses = data.judgements[task.task].losses
        ranks[task.task] = {} if losses is None else ranks_of(losses)
    rows = [
        [
            name,
            *(
                f"{number(float(np.mean(t.scores[name])), 3)} (rank {rank_text(ranks[t.task][name])})"
                for t in together.tasks
            ),
        ]
        for name in together.ranked
    ]
    return Table(
        "Mean normalized score on each task, and the ranks that the intervals of that task leave",
        ("optimizer", *(task.task for task in together.tasks)),
        rows,
    )


def improvement(data: TasksData) -> Table:
    """The probability that a run of the row is better than one of the column."""
    together = data.together
    rows = [
        [a, *("–" if a == b else share_text(together.improvement[a, b]) for b in together.ranked)]
        for a in together.ranked
    ]
    return Table(
        "Probability that a run of the optimizer of the row is better than a run of that of the column, the mean over tasks; "
        "in brackets its 95% interval",
        ("optimizer", *together.ranked),
        rows,
    )


def profiles(data: TasksData) -> Table:
    """Numbers of the performance profiles."""
    rows = [
        [name, share_text(p.fastest), f"{p.at(2.0):.0%}", share_text(p.reached), estimate_text(p.area)]
        for name in data.together.ranked
        if (p := data.together.profiles.get(name)) is not None
    ]
    return Table(
        "Share of runs, every task weighing the same, that are the fastest of their seed to the target, take at most twice the "
        f"steps of the fastest, and reach it at all; and the mean of the profile from 1 to {MOST:g}",
        ("optimizer", "fastest", "within 2×", "reach the target", "mean of the profile"),
        rows,
    )


def few_points(data: TasksData) -> Table:
    """The score after tuning with so many points."""
    few = data.together.few_points
    rows = [
        [name, *(f"{number(one.score(name), 3)}{' ✓' if name in one.with_best.top else ''}" for one in few.values())]
        for name in data.together.ranked
    ]
    return Table(
        "Mean normalized score of fresh runs at the best of the first N points of each tuning; ✓ may be the best with that many "
        "points, at 95% confidence for each N. Points that were added at the edge of a search space are not counted",
        ("optimizer", *(count(k, "point") for k in few)),
        rows,
    )


def rank_text(rank: tuple[int, int]) -> str:
    """``2``, or ``2–4``."""
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def estimate_text(one: Estimate) -> str:
    """``0.93 (0.91 to 0.95)``."""
    return f"{number(one.value, 3)} ({number(one.low)} to {number(one.high)})"


def share_text(one: Estimate) -> str:
    """``80% (45% to 95%)``."""
    return f"{one.value:.0%} ({one.low:.0%} to {one.high:.0%})"
