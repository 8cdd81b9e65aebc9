"""Which optimizer to take for a task that nobody has seen, if only few points can be tuned there.

For each number of points the fresh runs at the best of so many first points are compared as the main runs are. How well
such a choice carries over is measured, too: chosen by all tasks but one, how much is lost on the one left out?
"""

from collections.abc import Mapping, Sequence
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
        lost: by task, the score that is lost there if the other tasks choose; empty with one task.
    """

    points: int
    choice: str
    with_best: WithBest
    lost: Mapping[str, float]

    def __repr__(self) -> str:
        return f"FewPoints({self.points} points: {self.choice}, or any of {self.with_best.top})"

    def score(self, name: str) -> float:
        """The mean normalized score of an optimizer."""
        return -self.with_best.standing(name).mean


def few_points_of(
    names: Sequence[str], by_points: Mapping[int, Sequence[Mapping[str, Array]]], margin: float, alpha: float = 0.05
) -> dict[int, FewPoints]:
    """The choice for each number of points.

    Args:
        names: the tasks.
        by_points: by number of points, of each task the score of each run by optimizer.
        margin: the largest difference that does not matter.
        alpha: the chance that anything said of one number of points is wrong.
    """
    found = {}
    for points, tasks in sorted(by_points.items()):
        negative = [{name: -scores for name, scores in task.items()} for task in tasks]
        judged = with_best_over_tasks(negative, margin=margin, alpha=alpha)
        means = {name: np.array([float(task[name].mean()) for task in tasks]) for name in sorted(tasks[0])}
        found[points] = FewPoints(points, _highest(means), judged, _lost(names, means))
    return found


def _lost(names: Sequence[str], means: Mapping[str, Array]) -> dict[str, float]:
    """What the choice of all other tasks loses on each task."""
    if len(names) < 2:
        return {}
    lost = {}
    for m, task in enumerate(names):
        chosen = _highest({name: np.delete(values, m) for name, values in means.items()})
        lost[task] = max(float(values[m]) for values in means.values()) - float(means[chosen][m])
    return lost


def _highest(means: Mapping[str, Array]) -> str:
    return max(means, key=lambda name: float(means[name].mean()))
