"""How an optimizer is tuned: the points of every tuning, and the best of them.

A tuning has a number, from 0, and with it points and a seed of its own; the fresh run that follows has another seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ravine.comparison._study.spaces import Point, Space, points
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial, TrialResult

Results = Mapping[str, TrialResult]
"""What the trials gave so far, by their keys."""


def tuning_trial(spec: StudySpec, label: str, point: Point, number: int) -> Trial:
    """The trial of a point in the tuning of that number, from 0."""
    return Trial(label, point, spec.tuning_seed(number), "tune")


def final_trial(spec: StudySpec, label: str, point: Point, number: int) -> Trial:
    """The fresh run that follows the tuning of that number."""
    return Trial(label, point, spec.fresh_seed(number), "final")


@dataclass(frozen=True)
class Draw:
    """Points that every tuning draws: how many from which space, and how many it has drawn before, from any."""

    space: Space
    count: int
    first: int = 0


@dataclass(frozen=True, repr=False)
class Tuning:
    """How an optimizer is tuned.

    Attributes:
        config: the optimizer.
        draws: what each tuning tries: the points of the declared space, then those that expansions have added.
        space: the space as expanded so far.
        study_seed: the seed of the study.
    """

    config: OptimizerConfig
    draws: tuple[Draw, ...]
    space: Space
    study_seed: int

    def __repr__(self) -> str:
        return f"Tuning({self.config.label!r}, {sum(draw.count for draw in self.draws)} points)"

    def points(self, number: int) -> list[Point]:
        """The points of the tuning of that number, in the order they were declared.

        Every optimizer has its own: if two shared them, the luck of a draw would be the same for all seeds of a pair whose
        spaces are moved against each other, and a paired test would take it for a difference.
        """
        name = repr((self.config.label, self.study_seed, number))
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        drawn = [points(draw.space, draw.count, first=draw.first, seed=seed) for draw in self.draws]
        return [point for some in drawn for point in some]

    def tried(self, spec: StudySpec, number: int, results: Results) -> list[tuple[Point, float]]:
        """The points of a tuning, and their losses, as far as they are known; infinite where one diverged."""
        trials = [(p, tuning_trial(spec, self.config.label, p, number)) for p in self.points(number)]
        keys = [(p, trial.key(spec)) for p, trial in trials]
        return [(p, results[key].score) for p, key in keys if key in results]

    def best(self, spec: StudySpec, number: int, results: Results, among: int | None = None) -> Point:
        """The point with the lowest loss of the first ``among`` (all, if None); of equal ones the first declared."""
        tried = self.tried(spec, number, results)[:among]
        return min(tried, key=lambda pair: pair[1])[0]
