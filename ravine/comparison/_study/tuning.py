"""How an optimizer is tuned: the points of every tuning, and the best of them.

A tuning has a number, from 0, and with it points and a seed of its own; the fresh run that follows has another seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ravine.comparison._study.halving import better_half, going_on
from ravine.comparison._study.spaces import Point, Space, points
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial, TrialResult

Results = Mapping[str, TrialResult]
"""What the trials gave so far, by their keys."""


def tuning_trial(spec: StudySpec, label: str, point: Point, number: int) -> Trial:
    """The trial of a point in the tuning of that number, from 0."""
    return Trial(label, point, spec.tuning_seed(number), "tune")


def short_trial(spec: StudySpec, label: str, point: Point, number: int) -> Trial:
    """The first quarter of the trial of a point in the tuning of that number."""
    return Trial(label, point, spec.tuning_seed(number), "short")


def final_trial(spec: StudySpec, label: str, point: Point, number: int) -> Trial:
    """The fresh run that follows the tuning of that number."""
    return Trial(label, point, spec.fresh_seed(number), "final")


@dataclass(frozen=True)
class TriedPoint:
    """A point of a tuning: its loss, infinite where it diverged, and whether that is the loss at which it was stopped."""

    point: Point
    loss: float
    stopped: bool


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

    def trials(self, spec: StudySpec, number: int, results: Results) -> list[Trial]:
        """What the tuning of that number needs: all its points in full; if they are halved their first quarters, and, as soon
        as all of these are known, those that go on."""
        full = [tuning_trial(spec, self.config.label, point, number) for point in self.points(number)]
        if not self.halves(spec):
            return full
        short = [replace(trial, kind="short") for trial in full]
        if any(trial.key(spec) not in results for trial in short):
            return short
        losses = [results[trial.key(spec)].score for trial in short]
        return short + [full[place] for place in going_on(losses, spec.budgets)]

    def complete(self, spec: StudySpec, number: int, results: Results) -> bool:
        """Whether all trials of the tuning of that number are done."""
        return all(trial.key(spec) in results for trial in self.trials(spec, number, results))

    def tried(self, spec: StudySpec, number: int, results: Results) -> list[TriedPoint]:
        """The points of a tuning that is complete, as they are shown when all of them take part.

        One that was trained in full only because it is in the better half of the first few is one that was stopped.
        """
        points = self.points(number)
        left, tried = self._left(spec, points, number, results), []
        for place, point in enumerate(points):
            trial = tuning_trial(spec, self.config.label, point, number)
            if place not in left:
                trial = replace(trial, kind="short")
            loss = results[trial.key(spec)].score
            tried.append(TriedPoint(point, loss, stopped=place not in left and math.isfinite(loss)))
        return tried

    def best(self, spec: StudySpec, number: int, results: Results, among: int | None = None) -> Point:
        """The best of the first ``among`` (all, if None) points of a tuning that is complete: of those that are not stopped
        if only these take part the one with the lowest loss, of equal ones the first declared."""
        points = self.points(number)[:among]
        left = self._left(spec, points, number, results)
        if len(left) < 2:  # all diverged, or one is left, which may be known by its first quarter only
            return points[left[0] if left else 0]
        keys = {place: tuning_trial(spec, self.config.label, points[place], number).key(spec) for place in left}
        return points[min(left, key=lambda place: results[keys[place]].score)]

    def halves(self, spec: StudySpec) -> bool:
        """Whether points are stopped: of a single one there is no half."""
        return spec.halving and len(self.points(0)) > 1

    def _left(self, spec: StudySpec, points: Sequence[Point], number: int, results: Results) -> Sequence[int]:
        """The places of those of some first points that are not stopped if only these take part, in rising order."""
        if not self.halves(spec):
            return range(len(points))
        short = [short_trial(spec, self.config.label, point, number) for point in points]
        return better_half([results[trial.key(spec)].score for trial in short])
