"""How far a study is: how many of its trainings are done, and how many there will be."""

from __future__ import annotations

from dataclasses import dataclass

from ravine.comparison._study.stages import Results, Stage, StageName
from ravine.comparison._study.study_spec import REEVALUATION_SEEDS, StudySpec


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is.

    Attributes:
        stage: what it does now.
        done, total: how many trainings are done, and how many there are if no best point lies at an edge from now on.
    """

    stage: StageName
    done: int
    total: int

    @property
    def may_grow(self) -> bool:
        """Whether a best point at an edge of its space can still add trainings."""
        return self.stage in ("tune", "re-evaluate", "expand")

    @property
    def sentence(self) -> str:
        """``42 of 190 trainings are done.``"""
        verb = "is" if self.total == 1 else "are"
        text = f"{self.done:,} of {self.total:,} training{'s' * (self.total != 1)} {verb} done"
        return f"{text} (more are added if a best point lies at an edge of its space)." if self.may_grow else f"{text}."


def progress_of(spec: StudySpec, now: Stage, results: Results) -> StudyProgress:
    """How far a study is that is in this stage with these results."""
    left = len(now.trials)
    if now.name in ("tune", "expand"):
        finalists = (min(max(1, spec.finalists), len(tuning.points)) for tuning in now.tunings)
        left += sum(finalists) * len(REEVALUATION_SEEDS)
    if now.name in ("tune", "expand", "re-evaluate"):
        left += len(now.tunings) * spec.seeds
    return StudyProgress(now.name, len(results), len(results) + left)
