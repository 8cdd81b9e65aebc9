"""Several tasks together: which optimizer is the best over all of them, from the study of each. Pure functions of numbers.

normalized.py     losses of different tasks on one scale
over_tasks.py     every optimizer against the best, over all tasks; the ranks that follow
interquartile.py  the interquartile mean
shares.py         the probability of improvement, and other numbers between 0 and 1
profiles.py       performance profiles: how often an optimizer is how much slower than the fastest
few_points.py     which optimizer to take if only few points can be tuned
aggregate.py      all of it together, and the sentence that says it
"""

from ravine.comparison._across.aggregate import Aggregate, aggregate
from ravine.comparison._across.few_points import FewPoints
from ravine.comparison._across.interquartile import Resampling, interquartile_means
from ravine.comparison._across.normalized import TaskScores, task_scores
from ravine.comparison._across.over_tasks import ranks_of, with_best_over_tasks
from ravine.comparison._across.profiles import Profile, profiles_of
from ravine.comparison._across.shares import Estimate, improvement_of

__all__ = [
    "Aggregate",
    "Estimate",
    "FewPoints",
    "Profile",
    "Resampling",
    "TaskScores",
    "aggregate",
    "improvement_of",
    "interquartile_means",
    "profiles_of",
    "ranks_of",
    "task_scores",
    "with_best_over_tasks",
]
