"""The judgement over several tasks, and the sentences that say it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, permutations

import numpy as np

from ravine.comparison._across.few_points import FewPoints, few_points_of
from ravine.comparison._across.interquartile import Resampling, interquartile_means
from ravine.comparison._across.normalized import TaskScores
from ravine.comparison._across.over_tasks import ranks_of, with_best_over_tasks
from ravine.comparison._across.profiles import Profile, profiles_of
from ravine.comparison._across.shares import Estimate, improvement_of
from ravine.comparison._judge import Metric, WithBest, with_best
from ravine.comparison._judge.number_text import count, listed, number
from ravine.comparison._judge.verdict_text import verdict_text
from ravine.errors import ComparisonError

#: What is compared over tasks.
SCORE = Metric("normalized score", higher_is_better=True)
_FEWEST_TASKS = 3  # that may stand for others


@dataclass(frozen=True, eq=False, repr=False)
class Aggregate:
    """What several tasks say together.

    Attributes:
        sentence: the answer: who may be the best over these tasks, and what to take on them with few points.
        unseen: what follows for tasks that were not tried.
        tasks: the normalized scores of each task.
        with_best: every optimizer against the best over the tasks; of the negative scores, so that lower is better.
        ranks: the best and the worst rank that each may have over the tasks; all hold together.
        interquartile: the interquartile mean of the scores of each.
        improvement: by two optimizers, the probability that a run of the first is better than one of the second.
        profiles: the performance profile of each; empty where no task has a target.
        few_points: by number of points, which to take.
        like_these: every optimizer against the best where the tasks are a sample of others; None with one or two tasks.
        notes: what a reader has to know.
    """

    sentence: str
    unseen: str
    tasks: Sequence[TaskScores]
    with_best: WithBest
    ranks: Mapping[str, tuple[int, int]]
    interquartile: Mapping[str, Estimate]
    improvement: Mapping[tuple[str, str], Estimate]
    profiles: Mapping[str, Profile]
    few_points: Mapping[int, FewPoints]
    like_these: WithBest | None
    notes: Sequence[str]

    def __repr__(self) -> str:
        return f"Aggregate({self.sentence!r})"

    @property
    def ranked(self) -> list[str]:
        """The optimizers, best first, as the verdict has them."""
        return [standing.name for standing in self.with_best.standings]


def aggregate(tasks: Sequence[TaskScores], *, notes: Sequence[str] = (), alpha: float = 0.05) -> Aggregate:
    """Judge several tasks together.

    Args:
        tasks: the scores on each, of the same optimizers.
        notes: what is known already.
        alpha: the chance that the verdict is wrong; of every other interval, each by itself.

    Raises:
        ComparisonError: there is no task, or tasks have other optimizers, or fewer than two.
    """
    if not tasks:
        raise ComparisonError("No task has a verdict to combine yet.")
    scores = [task.scores for task in tasks]
    names, margin = [task.task for task in tasks], float(np.mean([task.margin for task in tasks]))
    negative = [{name: -values for name, values in task.items()} for task in scores]
    looks = max((task.looks for task in tasks), key=len)
    diverged = frozenset.intersection(
        *(task.diverged for task in tasks)
    )  # on one task only, an optimizer may still be the best
    judgement = with_best_over_tasks(negative, looks=looks, margin=margin, alpha=alpha).with_diverged(diverged)
    resampling = Resampling([[len(values) for values in task.values()] for task in scores])
    budgets = sorted(set(tasks[0].budget).intersection(*(task.budget for task in tasks)))
    few = few_points_of(
        names, {k: [task.budget[k] for task in tasks] for k in budgets}, margin, alpha, looks=looks, diverged=diverged
    )
    with_target = [task.steps for task in tasks if task.steps]
    without = [task.task for task in tasks if not task.steps]
    notes = [*notes, *([f"There is no target on {listed(without)}, so profiles leave it out."] if without else [])]
    means = {name: np.array([task[name].mean() for task in negative]) for name in sorted(negative[0])}
    like_these = with_best(means, alpha=alpha) if len(tasks) >= _FEWEST_TASKS else None
    return Aggregate(
        sentence=_sentence(judgement, few, len(tasks)),
        unseen=_unseen(judgement, like_these, few, len(tasks)),
        tasks=tasks,
        with_best=judgement,
        ranks=ranks_of(judgement),
        interquartile=interquartile_means(scores, resampling, alpha),
        improvement={(a, b): improvement_of(scores, a, b, alpha) for a, b in permutations(scores[0], 2)},
        profiles=profiles_of(with_target, alpha),
        few_points=few,
        like_these=like_these,
        notes=notes,
    )


def _sentence(judgement: WithBest, few: Mapping[int, FewPoints], tasks: int) -> str:
    verdict = verdict_text(judgement, SCORE)
    return " ".join(
        [
            f"Over {count(tasks, 'task')}: {verdict}",
            *([_advice(few)] if few and all(one.with_best.top for one in few.values()) else []),
        ]
    )


def _advice(few: Mapping[int, FewPoints]) -> str:
    """Which optimizer to take with how many points: the highest mean first, then those that may be as good."""
    groups = [list(points) for _, points in groupby(few, lambda k: frozenset(few[k].with_best.top))]
    parts = []
    for points in groups:
        names = sorted(few[points[0]].with_best.top, key=lambda name: -sum(few[k].score(name) for k in points))
        if len(groups) == 1:
            return f"On these tasks, for any number of points per tuning: {_or(names)}."
        amount = str(points[0]) if len(points) == 1 else f"{points[0]} to {points[-1]}"
        if points is groups[-1]:
            amount = f"{points[0]} or more"
        parts.append(f"with {amount} point{'s' * (amount != '1')}, {_or(names)}")
    return f"On these tasks, with few points to tune: {'; '.join(parts)}."


def _or(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{names[0]} ({len(names) - 1} others may be as good)"
    return names[0] if len(names) == 1 else f"{names[0]} ({listed(names[1:])} may be as good)"


def _unseen(judgement: WithBest, like_these: WithBest | None, few: Mapping[int, FewPoints], tasks: int) -> str:
    """What these tasks say of others; nothing that they do not say of themselves."""
    if tasks == 1:
        return "One task says nothing about others."
    worse = [name for name in judgement.others if like_these is not None and name in like_these.others]
    if like_these is not None and like_these.best is not None and like_these.best == judgement.best:
        text = f"If other tasks are like these {tasks}, {judgement.top[0]} is the best on average over them, too."
    elif worse:
        verb = "is" if len(worse) == 1 else "are"
        text = f"If other tasks are like these {tasks}, {listed(worse)} {verb} not the best on average over them."
    else:
        text = f"{tasks} tasks are too few to say which optimizer is the best on tasks that were not tried."
    if few and few[max(few)].loses:
        lost = few[max(few)].lost
        worst = max(lost, key=lambda task: lost[task])
        mean = float(np.mean(list(lost.values())))
        cost = f"a score of {number(mean)} on average, {number(lost[worst])} on {worst}"
        text += f" Choosing by all tasks but one loses {cost} on the one left out."
    return text
