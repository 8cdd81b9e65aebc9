"""Which trainings a study still needs, from those that are done: tune, try the best again, widen, confirm.

A pure function of the spec and the outcomes, so every machine that works on a study comes to the same list.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ravine.comparison._study.spaces import Point, Space, edge, points
from ravine.comparison._study.study_spec import AGAIN_SEEDS, FRESH_SEED, TUNING_SEED, ArmSpec, Spec
from ravine.comparison._study.trial import Job, Outcome

Done = Mapping[str, Outcome]


@dataclass(frozen=True)
class Tuning:
    """How far an optimizer's tuning is.

    Attributes:
        arm: the optimizer.
        points: all points so far, in the order they were declared.
        space: the space as widened so far.
        drawn: how many points of the declared space were drawn.
    """

    arm: ArmSpec
    points: tuple[Point, ...]
    space: Space
    drawn: int

    def outcomes(self, spec: Spec, point: Point, done: Done) -> list[Outcome]:
        """What the trainings of one point gave, as far as they are done."""
        keys = [Job(self.arm.label, point, seed, "tune").key(spec) for seed in (TUNING_SEED, *AGAIN_SEEDS)]
        return [done[key] for key in keys if key in done]


@dataclass(frozen=True)
class Stage:
    """What is to be done now.

    Attributes:
        name: ``"tune"``, ``"again"``, ``"widen"``, ``"confirm"`` or ``"done"``.
        jobs: the trainings of this stage that are not done.
        total: how many trainings it has.
        tunings: the optimizers with their points.
        chosen: the best point of each, once it is known.
        edges: where a best point still lies at the edge of what was tried, in words.
    """

    name: str
    jobs: tuple[Job, ...]
    total: int
    tunings: tuple[Tuning, ...]
    chosen: Mapping[str, Point]
    edges: Mapping[str, str]


def stage(spec: Spec, done: Done) -> Stage:
    """The stage that a study is in."""
    tunings = tuple(
        Tuning(arm, tuple(points(arm.space, spec.points, seed=_seed(arm))), dict(arm.space), spec.points)
        for arm in spec.arms
    )
    for widening in range(spec.widenings + 1):
        first = [Job(t.arm.label, p, TUNING_SEED, "tune") for t in tunings for p in t.points]
        missing = _missing(spec, first, done)
        if missing:
            return Stage("widen" if widening else "tune", missing, len(first), tunings, {}, {})
        again = [
            Job(t.arm.label, p, seed, "tune")
            for t in tunings
            for p in _best(spec, t, done)[: spec.again]
            for seed in AGAIN_SEEDS
        ]
        missing = _missing(spec, again, done)
        if missing:
            return Stage("again", missing, len(again), tunings, {}, {})
        chosen = {t.arm.label: _chosen(spec, t, done) for t in tunings}
        at_edge = {t.arm.label: edge(t.space, list(t.points), chosen[t.arm.label]) for t in tunings}
        if not any(at_edge.values()) or widening == spec.widenings:
            break
        tunings = tuple(_widened(spec, t, at_edge[t.arm.label]) for t in tunings)
    edges = {label: f"{found[0]}, the {found[1]} side" for label, found in at_edge.items() if found}
    fresh = [fresh_job(label, point, i) for i in range(spec.seeds) for label, point in chosen.items()]
    missing = _missing(spec, fresh, done)
    return Stage("confirm" if missing else "done", missing, len(fresh), tunings, chosen, edges)


def fresh_job(label: str, point: Point, number: int) -> Job:
    """The confirmation of a point with the fresh seed of that number, from 0."""
    return Job(label, point, FRESH_SEED + number, "confirm")


def confirmed(spec: Spec, label: str, point: Point, done: Done) -> list[Outcome]:
    """What the confirmations of a point gave, as far as they are done."""
    keys = [fresh_job(label, point, i).key(spec) for i in range(spec.seeds)]
    return [done[key] for key in keys if key in done]


def _seed(arm: ArmSpec) -> int:
    """Spaces of the same form get the same points: where two optimizers have one range, they try the same rates."""
    form = repr(sorted(arm.space))
    return int.from_bytes(hashlib.sha256(form.encode()).digest()[:4], "big")


def _missing(spec: Spec, jobs: list[Job], done: Done) -> tuple[Job, ...]:
    unique = {job.key(spec): job for job in jobs}
    return tuple(job for key, job in unique.items() if key not in done)


def score(spec: Spec, tuning: Tuning, point: Point, done: Done) -> float:
    """The mean validation loss at the end of a point's tuning runs so far; infinite where one diverged."""
    found = [outcome.score for outcome in tuning.outcomes(spec, point, done)]
    return math.fsum(found) / len(found) if found and all(map(math.isfinite, found)) else math.inf


def _best(spec: Spec, tuning: Tuning, done: Done) -> list[Point]:
    """The points by the score of the first seed, best first; of equal ones that which was declared first."""
    label = tuning.arm.label
    return sorted(tuning.points, key=lambda p: done[Job(label, p, TUNING_SEED, "tune").key(spec)].score)


def _chosen(spec: Spec, tuning: Tuning, done: Done) -> Point:
    """The best by the mean over seeds, of those that were tried with all of them."""
    tried = _best(spec, tuning, done)[: max(1, spec.again)]
    return min(tried, key=lambda p: score(spec, tuning, p, done))


def _widened(spec: Spec, tuning: Tuning, at: tuple[str, str] | None) -> Tuning:
    """Extra points: in the part that is added where the best point lies at an edge, else in the space as it is."""
    if at is None:
        more = points(tuning.arm.space, spec.extra, first=tuning.drawn, seed=_seed(tuning.arm))
        return replace(tuning, points=tuning.points + tuple(more), drawn=tuning.drawn + spec.extra)
    name, side = at
    beyond = tuning.space[name].beyond("low" if side == "low" else "high")
    more = points({**tuning.space, name: beyond}, spec.extra, seed=_seed(tuning.arm))
    space = {**tuning.space, name: tuning.space[name].joined(beyond)}
    return replace(tuning, points=tuning.points + tuple(more), space=space)
