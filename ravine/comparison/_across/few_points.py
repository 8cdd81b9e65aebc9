"""Which optimizer to take if only few points can be tuned.

For each number of points the fresh runs at the best of so many first points are compared as the main runs are. How well
such a choice carries over is measured, too: chosen by all tasks but one, how much is lost on the one left out?
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ravine.comparison._across.over_tasks import with_best_over_tasks
from ravine.comparison._judge import WithBest
from ravine.comparison._judge.measurements import Array


@dataclass(frozen=True, eq=False, repr=False)
class FewPoints:
    """The choice for one number of points.

    Attributes:
        points: how many points are tuned.
        choice: the optimizer with the highest mean score over the tasks.
        with_best: every optimizer against the best; of the negative scores, so that lower is better.
        lost: by task, the score that is lost there if the other tasks choose; empty with one task. The best of several means
            is partly lucky, so it is rather too high.
        loses: whether more than the margin and more than its standard error is lost on any task.
    """

    points: int
    choice: str
    with_best: WithBest
    lost: Mapping[str, float]
    loses: bool = False

    def __repr__(self) -> str:
        return f"FewPoints({self.points} points: {self.choice}, or any of {self.with_best.top})"

    def score(self, name: str) -> float:
        """The mean normalized score of an optimizer."""
        return -self.with_best.standing(name).mean


def few_points_of(
    names: Sequence[str],
    by_points: Mapping[int, Sequence[Mapping[str, Array]]],
    margin: float,
    alpha: float = 0.05,
    *,
    looks: Sequence[int] = (),
    diverged: Collection[str] = (),
) -> dict[int, FewPoints]:
    """The choice for each number of points.

    Args:
        names: the tasks.
        by_points: by number of points, of each task the score of each run by optimizer.
        margin: the largest difference that does not matter.
        alpha: the chance that anything said of one number of points is wrong.
        looks: after how many runs each task was looked at, as planned.
        diverged: the optimizers that diverged in every run.
    """
    choices = {}
    for points, tasks in sorted(by_points.items()):
        negative = [{name: -scores for name, scores in task.items()} for task in tasks]
        judged = with_best_over_tasks(negative, looks=looks, margin=margin, alpha=alpha).with_diverged(diverged)
        lost = _lost(names, tasks)
        loses = any(score > max(margin, error) for score, error in lost.values())
        scores = {task: score for task, (score, _) in lost.items()}
        choices[points] = FewPoints(points, _highest(_means(tasks)), judged, scores, loses)
    return choices


def _lost(names: Sequence[str], tasks: Sequence[Mapping[str, Array]]) -> dict[str, tuple[float, float]]:
    """What the choice of all other tasks loses on each task, and the standard error of that, from paired runs."""
    if len(names) < 2:
        return {}
    lost, means = {}, _means(tasks)
    for m, name in enumerate(names):
        chosen = _highest({n: np.delete(values, m) for n, values in means.items()})
        best = max(means, key=lambda n: float(means[n][m]))
        runs = min(len(tasks[m][best]), len(tasks[m][chosen]))
        error = float((tasks[m][best][:runs] - tasks[m][chosen][:runs]).std(ddof=1)) / runs**0.5
        lost[name] = (float(means[best][m] - means[chosen][m]), error)
    return lost


def _means(tasks: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The mean score on each task, by optimizer."""
    return {name: np.array([float(task[name].mean()) for task in tasks]) for name in sorted(tasks[0])}


def _highest(means: Mapping[str, Array]) -> str:
    return max(means, key=lambda name: float(means[name].mean()))
