"""Performance profiles: how often an optimizer takes at most so many times the steps of the fastest.

A problem is a task with a seed. The ratio of an optimizer on it is its steps to the target over those of the fastest
optimizer with the same seed; a run that misses the target has none. The profile is the share of problems, every task
weighing the same, on which the ratio is at most tau (Dolan and More, 2002, https://doi.org/10.1007/s101070100263). Its
mean from 1 to 4 is what AlgoPerf scores by (Dahl et al., 2023, arXiv:2306.07179).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ravine.comparison._across.shares import Estimate, mean_share
from ravine.comparison._judge.measurements import Array

#: Up to how many times the steps of the fastest count, as in AlgoPerf.
MOST = 4.0


@dataclass(frozen=True, eq=False, repr=False)
class Profile:
    """The profile of one optimizer.

    Attributes:
        name: the optimizer.
        ratios: where the profile rises, in rising order, from 1.
        shares: the share of problems with at most that ratio.
        fastest: the share on which no other is faster.
        reached: the share on which it reaches the target at all.
        area: the mean of the profile from 1 to ``MOST``.
    """

    name: str
    ratios: Array
    shares: Array
    fastest: Estimate
    reached: Estimate
    area: Estimate

    def __repr__(self) -> str:
        return f"Profile({self.name!r}, area {self.area.value:.3g}, fastest {self.fastest.value:.0%})"

    def at(self, ratio: float) -> float:
        """The share of problems with at most that ratio."""
        index = int(np.searchsorted(self.ratios, ratio, side="right"))
        return float(self.shares[index - 1]) if index else 0.0


def profiles_of(tasks: Sequence[Mapping[str, Array]], alpha: float = 0.05) -> dict[str, Profile]:
    """The profile of each optimizer; empty without tasks.

    Args:
        tasks: of each task the steps of each run to the target by optimizer, infinite for a miss; run i of all optimizers has
            the same seed. Only runs count that all of them have.
        alpha: the chance that an interval, each by itself, is wrong.
    """
    if not tasks:
        return {}
    names = list(tasks[0])
    runs = [min(len(steps) for steps in task.values()) for task in tasks]
    weights = np.concatenate([np.full(n, 1 / n / len(tasks)) for n in runs])
    ratios = []
    for task, n in zip(tasks, runs, strict=True):
        steps = np.stack([np.asarray(task[name], float)[:n] for name in names])
        fastest = steps.min(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(np.where(np.isfinite(steps), np.where(steps == fastest, 1.0, steps / fastest), np.inf))
    profiles = {}
    for index, name in enumerate(names):
        of_tasks = [each[index] for each in ratios]
        own = np.concatenate(of_tasks)
        reached = np.isfinite(own)
        rises, at = np.unique(np.append(own[reached], 1.0), return_inverse=True)
        shares: Array = np.cumsum(np.bincount(at, np.append(weights[reached], 0.0))).astype(float)
        fastest, ever, area = (
            mean_share([count(each) for each in of_tasks], alpha)
            for count in (lambda r: (r == 1).astype(float), lambda r: np.isfinite(r).astype(float), _part)
        )
        profiles[name] = Profile(name, rises, shares, fastest, ever, area)
    return profiles


def _part(ratios: Array) -> Array:
    """How much of the way from 1 to ``MOST`` lies beyond each ratio."""
    part: Array = np.clip((MOST - ratios) / (MOST - 1), 0.0, 1.0)
    return part
