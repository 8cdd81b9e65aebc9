"""Which trials a study still needs, from the results there are: tune, re-evaluate, expand the space, evaluate finally.

A pure function of the spec and the results, so every machine that works on a study comes to the same list.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ravine.comparison._study.spaces import Point, Space, edge, points
from ravine.comparison._study.study_spec import (
    FRESH_SEED,
    REEVALUATION_SEEDS,
    TUNING_SEED,
    OptimizerConfig,
    StudySpec,
)
from ravine.comparison._study.trial import Trial, TrialResult

Results = Mapping[str, TrialResult]
"""What the trials gave so far, by their keys."""

StageName = Literal["tune", "re-evaluate", "expand", "final", "done"]


@dataclass(frozen=True, repr=False)
class Tuning:
    """How far an optimizer's tuning is.

    Attributes:
        config: the optimizer.
        points: all points so far, in the order they were declared.
        space: the space as expanded so far.
        drawn: how many points of the declared space were drawn.
    """

    config: OptimizerConfig
    points: tuple[Point, ...]
    space: Space
    drawn: int

    def __repr__(self) -> str:
        return f"Tuning({self.config.label!r}, {len(self.points)} points)"

    def results(self, spec: StudySpec, point: Point, results: Results) -> list[TrialResult]:
        """What the trials of one point gave, as far as they are done."""
        seeds = (TUNING_SEED, *REEVALUATION_SEEDS)
        keys = [Trial(self.config.label, point, seed, "tune").key(spec) for seed in seeds]
        return [results[key] for key in keys if key in results]


@dataclass(frozen=True, repr=False)
class Stage:
    """What is to be done now.

    Attributes:
        name: which stage it is.
        trials: those of this stage that are not done.
        total: how many it has.
        tunings: the optimizers with their points.
        chosen: the best point of each, once it is known.
        edges: where a best point still lies at the edge of what was tried, in words.
    """

    name: StageName
    trials: tuple[Trial, ...]
    total: int
    tunings: tuple[Tuning, ...]
    chosen: Mapping[str, Point]
    edges: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Stage({self.name}, {self.total - len(self.trials)} of {self.total} trials done)"


def stage(spec: StudySpec, results: Results) -> Stage:
    """The stage that a study is in."""
    tunings = tuple(
        Tuning(config, tuple(points(config.space, spec.points, seed=_seed(config))), dict(config.space), spec.points)
        for config in spec.optimizers
    )
    for expansion in range(spec.expansions + 1):
        first = [Trial(t.config.label, p, TUNING_SEED, "tune") for t in tunings for p in t.points]
        missing = _missing(spec, first, results)
        if missing:
            return Stage("expand" if expansion else "tune", missing, len(first), tunings, {}, {})
        finalists = [
            Trial(t.config.label, p, seed, "tune")
            for t in tunings
            for p in _best(spec, t, results)[: spec.finalists]
            for seed in REEVALUATION_SEEDS
        ]
        missing = _missing(spec, finalists, results)
        if missing:
            return Stage("re-evaluate", missing, len(finalists), tunings, {}, {})
        chosen = {t.config.label: _chosen(spec, t, results) for t in tunings}
        at_edge = {t.config.label: edge(t.space, list(t.points), chosen[t.config.label]) for t in tunings}
        if not any(at_edge.values()) or expansion == spec.expansions:
            break
        tunings = tuple(_expanded(spec, t, at_edge[t.config.label]) for t in tunings)
    edges = {label: f"the {at[1]} end of {at[0]}" for label, at in at_edge.items() if at}
    final = [final_trial(label, point, i) for i in range(spec.seeds) for label, point in chosen.items()]
    missing = _missing(spec, final, results)
    return Stage("final" if missing else "done", missing, len(final), tunings, chosen, edges)


def final_trial(label: str, point: Point, number: int) -> Trial:
    """The trial of the final evaluation of a point, with the fresh seed of that number, from 0."""
    return Trial(label, point, FRESH_SEED + number, "final")


def final_results(spec: StudySpec, label: str, point: Point, results: Results) -> list[TrialResult]:
    """What the final evaluation of a point gave, as far as it is done."""
    keys = [final_trial(label, point, i).key(spec) for i in range(spec.seeds)]
    return [results[key] for key in keys if key in results]


def _seed(config: OptimizerConfig) -> int:
    """Spaces of the same form get the same points: where two optimizers have one range, they try the same rates."""
    form = repr(sorted(config.space))
    return int.from_bytes(hashlib.sha256(form.encode()).digest()[:4], "big")


def _missing(spec: StudySpec, trials: list[Trial], results: Results) -> tuple[Trial, ...]:
    unique = {trial.key(spec): trial for trial in trials}
    return tuple(trial for key, trial in unique.items() if key not in results)


def score(spec: StudySpec, tuning: Tuning, point: Point, results: Results) -> float:
    """The mean validation loss at the end of a point's tuning trials so far; infinite where one diverged."""
    scores = [result.score for result in tuning.results(spec, point, results)]
    return math.fsum(scores) / len(scores) if scores and all(map(math.isfinite, scores)) else math.inf


def _best(spec: StudySpec, tuning: Tuning, results: Results) -> list[Point]:
    """The points by the score of the first seed, best first; of equal ones that which was declared first."""
    label = tuning.config.label
    return sorted(tuning.points, key=lambda p: results[Trial(label, p, TUNING_SEED, "tune").key(spec)].score)


def _chosen(spec: StudySpec, tuning: Tuning, results: Results) -> Point:
    """The best by the mean over seeds, of those that were tried with all of them."""
    tried = _best(spec, tuning, results)[: max(1, spec.finalists)]
    return min(tried, key=lambda p: score(spec, tuning, p, results))


def _expanded(spec: StudySpec, tuning: Tuning, at: tuple[str, str] | None) -> Tuning:
    """Extra points: in the part that is added where the best point lies at an edge, else in the space as it is."""
    if at is None:
        more = points(tuning.config.space, spec.extra_points, first=tuning.drawn, seed=_seed(tuning.config))
        return replace(tuning, points=tuning.points + tuple(more), drawn=tuning.drawn + spec.extra_points)
    name, side = at
    beyond = tuning.space[name].beyond("low" if side == "low" else "high")
    more = points({**tuning.space, name: beyond}, spec.extra_points, seed=_seed(tuning.config))
    space = {**tuning.space, name: tuning.space[name].union(beyond)}
    return replace(tuning, points=tuning.points + tuple(more), space=space)
