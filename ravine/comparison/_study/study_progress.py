"""How far a study is: how many of its trainings are done, and about how many there will be."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ravine.comparison._study.stages import Stage, StageName
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.tuning import Results, Tuning


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is.

    Attributes:
        stage: what it does now.
        done, total: how many trainings are done, and about how many there are if it looks to the end.
    """

    stage: StageName
    done: int
    total: int

    @property
    def sentence(self) -> str:
        """``42 of about 190 trainings are done.``"""
        verb = "is" if self.total == 1 else "are"
        about = "" if self.stage == "done" else "about "
        return f"{self.done:,} of {about}{self.total:,} training{'s' * (self.total != 1)} {verb} done."


def progress_of(spec: StudySpec, now: Stage, results: Results) -> StudyProgress:
    """How far a study is that is in this stage with these results."""
    if now.name == "done":
        return StudyProgress(now.name, len(results), len(results))
    looked = max((n for n in spec.looks if n < now.seeds), default=0)
    rest = float(len(now.trials))
    for tuning in now.tunings:
        if tuning.config.label in now.active:
            of_seed = trainings_of_seed(spec, tuning)
            fresh = 0.0 if now.name == "final" else of_seed - len(tuning.points(0))
            rest += (now.seeds - looked) * fresh + (spec.seeds - now.seeds) * of_seed
    return StudyProgress(now.name, len(results), len(results) + round(rest))


def trainings_of_seed(spec: StudySpec, tuning: Tuning) -> float:
    """About how many trainings a seed of an optimizer takes: its points, and runs at the best of the first 1, 2, 4, ...

    The best of n points is among the first m of them with a chance of m / n, and then needs no run of its own.
    """
    points = len(tuning.points(0))
    ends = [*(k for k in spec.budgets if k <= points), points]
    return points + 1 + sum(1 - few / many for few, many in pairwise(ends))
