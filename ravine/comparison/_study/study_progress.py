"""How far a study is: how many of its trainings are done, and about how many there will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from ravine.comparison._study.halving import expected_going_on
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


@dataclass(frozen=True)
class SettledEarly:
    """A study that was settled before the last look that was planned.

    Attributes:
        seeds, planned: after how many seeds it was settled, and how many there were to be.
        saved: about what share of the trainings that takes, from 0 to 1.
    """

    seeds: int
    planned: int
    saved: float

    @property
    def sentence(self) -> str:
        """``Settled after 8 of 20 seeds, which saved about 60% of the trainings.``"""
        return (
            f"Settled after {self.seeds} of {self.planned} seeds, which saved about {self.saved:.0%} of the trainings."
        )


def settled_early(spec: StudySpec, now: Stage, seeds: Mapping[str, int]) -> SettledEarly | None:
    """What a study in this stage has saved; None if it is not done, or went on to its last look.

    ``seeds`` is how many each optimizer has: those that dropped out have fewer.
    """
    if now.name != "done" or now.seeds == spec.seeds:
        return None
    of_seed = {tuning.config.label: trainings_of_seed(spec, tuning) for tuning in now.tunings}
    share = sum(of_seed[label] * n for label, n in seeds.items()) / (spec.seeds * sum(of_seed.values()))
    return SettledEarly(now.seeds, spec.seeds, 1 - share)


def progress_of(spec: StudySpec, now: Stage, results: Results) -> StudyProgress:
    """How far a study is that is in this stage with these results."""
    if now.name == "done":
        return StudyProgress(now.name, len(results), len(results))
    looked = max((n for n in spec.looks if n < now.seeds), default=0)
    rest = float(len(now.trials))
    for tuning in now.tunings:
        if tuning.config.label in now.active:
            of_seed = trainings_of_seed(spec, tuning)
            rest += (now.seeds - looked) * _later(spec, now, tuning) + (spec.seeds - now.seeds) * of_seed
    return StudyProgress(now.name, len(results), len(results) + round(rest))


def _later(spec: StudySpec, now: Stage, tuning: Tuning) -> float:
    """About how many trainings a seed of the present look still takes after this stage."""
    if now.name == "final":
        return 0.0
    points, full = len(tuning.points(0)), 0.0
    if any(trial.kind == "short" for trial in now.trials):  # those of all steps come when these are done
        full = tuning_of_seed(spec, tuning)[1]
        if now.name == "expand":  # but for those that were there before
            full -= expected_going_on(points - spec.extra_points, spec.budgets) if tuning.halves(spec) else full
    return _fresh_of_seed(spec, points) + full


def trainings_of_seed(spec: StudySpec, tuning: Tuning) -> float:
    """About how many trainings a seed of an optimizer takes: those of its points, and the fresh runs."""
    short, full = tuning_of_seed(spec, tuning)
    return short + full + _fresh_of_seed(spec, len(tuning.points(0)))


def tuning_of_seed(spec: StudySpec, tuning: Tuning) -> tuple[float, float]:
    """About how many trainings a tuning takes: of a quarter of the steps, and of all."""
    points = len(tuning.points(0))
    return (points, expected_going_on(points, spec.budgets)) if tuning.halves(spec) else (0.0, points)


def _fresh_of_seed(spec: StudySpec, points: int) -> float:
    """About how many runs at the best of the first 1, 2, 4, ... points, and of all.

    The best of n points is among the first m of them with a chance of m / n, and then needs no run of its own.
    """
    ends = [*(k for k in spec.budgets if k <= points), points]
    return 1 + sum(1 - few / many for few, many in pairwise(ends))
