"""Which trials a study still needs, from the results there are.

For every seed each optimizer is tuned anew, with points and a seed of its own, and the best point is trained with a
fresh seed. So what is repeated, and what the verdict is about, is *tuning with so many points, then training*. After each
look the optimizers that are clearly not the best drop out, and the study ends where nothing is left to settle.

A pure function of the spec and the results, so every machine that works on a study comes to the same list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ravine.comparison._judge import compare_losses
from ravine.comparison._study.measured import measured_runs
from ravine.comparison._study.spaces import Point, edges
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial
from ravine.comparison._study.tuning import Draw, Results, Tuning, final_trial

StageName = Literal["tune", "expand", "final", "done"]


@dataclass(frozen=True, repr=False)
class Stage:
    """What is to be done now.

    Attributes:
        name: which stage it is.
        trials: those of this stage that are not done.
        total: how many it has.
        tunings: the optimizers with the points that their tunings try.
        seeds: how many seeds the present look has.
        active: the labels of the optimizers that still take part.
        edges: where most best points of an optimizer still lie at the edge of what was tried, in words.
    """

    name: StageName
    trials: tuple[Trial, ...]
    total: int
    tunings: tuple[Tuning, ...]
    seeds: int
    active: tuple[str, ...]
    edges: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Stage({self.name}, {self.total - len(self.trials)} of {self.total} trials done)"


def stage(spec: StudySpec, results: Results) -> Stage:
    """The stage that a study is in."""
    tunings = tuple(_declared(spec, config) for config in spec.optimizers)
    active = tuple(config.label for config in spec.optimizers)
    first, at_edge = spec.looks[0], dict[str, tuple[str, str]]()
    for expansion in range(spec.expansions + 1):
        tried = _tuning_trials(spec, tunings, first, results)
        if missing := _missing(spec, tried, results):
            return Stage("expand" if expansion else "tune", missing, len(tried), tunings, first, active, {})
        at_edge = {t.config.label: side for t in tunings if (side := _most_at_edge(spec, t, first, results))}
        if not at_edge or expansion == spec.expansions:
            break
        tunings = tuple(_expanded(spec, t, at_edge.get(t.config.label)) for t in tunings)
    edges = {label: f"the {side} end of {name}" for label, (name, side) in at_edge.items()}
    now = Stage("done", (), 0, tunings, first, active, edges)
    for seeds in spec.looks:
        taking_part = [t for t in tunings if t.config.label in now.active]
        now = replace(now, seeds=seeds)
        tried = _tuning_trials(spec, taking_part, seeds, results)
        if missing := _missing(spec, tried, results):
            return replace(now, name="tune", trials=missing, total=len(tried))
        final = final_trials(spec, taking_part, seeds, results)
        if missing := _missing(spec, final, results):
            return replace(now, name="final", trials=missing, total=len(final))
        now = replace(now, total=len(final))
        if seeds != spec.looks[-1]:
            left = _left(spec, tunings, results, seeds)
            if not left:
                break
            now = replace(now, active=left)
    return now


def stage_after(spec: StudySpec, before: Stage | None, results: Results) -> Stage:
    """The stage that a study is in, told quickly: as long as a trial of the one before is missing, it is that one."""
    if before is not None and (missing := _missing(spec, before.trials, results)):
        return replace(before, trials=missing)
    return stage(spec, results)


def settled(spec: StudySpec, results: Results) -> bool:
    """Whether a study is done, and more seeds would change no verdict."""
    now = stage(spec, results)
    return now.name == "done" and not _left(spec, now.tunings, results, now.seeds)


def final_trials(spec: StudySpec, tunings: Iterable[Tuning], seeds: int, results: Results) -> list[Trial]:
    """The fresh runs of so many seeds: at the best of the first 1, 2, 4, ... points of each tuning, and of all."""
    return [
        final_trial(spec, t.config.label, point, number)
        for number in range(seeds)
        for t in tunings
        for point in _unique(t.best(spec, number, results, among) for among in (*spec.budgets, None))
    ]


def _unique(chosen: Iterable[Point]) -> list[Point]:
    return [dict(items) for items in dict.fromkeys(tuple(point.items()) for point in chosen)]


def _left(spec: StudySpec, tunings: Sequence[Tuning], results: Results, seeds: int) -> tuple[str, ...]:
    """Those that need more seeds after this look; none where everything is settled."""
    if len(tunings) < 2:
        return tuple(t.config.label for t in tunings)
    runs = measured_runs(spec, tunings, results, seeds)
    if all(run.diverged for each in runs for run in each.runs):
        return ()  # no run has a loss, and more seeds would have none either
    judgement = compare_losses(runs, looks=spec.looks, margin=spec.margin, ratio=spec.ratio)
    return () if judgement.settled else tuple(t.config.label for t in tunings if t.config.label in judgement.top)


def _declared(spec: StudySpec, config: OptimizerConfig) -> Tuning:
    return Tuning(config, (Draw(config.space, spec.points),), dict(config.space), spec.seed)


def _tuning_trials(spec: StudySpec, tunings: Sequence[Tuning], seeds: int, results: Results) -> list[Trial]:
    """All trials of these tunings; where points are halved those of the first quarter, until all of them are done."""
    trials = [trial for number in range(seeds) for t in tunings for trial in t.trials(spec, number, results)]
    short = [trial for trial in trials if trial.kind == "short"]
    return short if _missing(spec, short, results) else trials


def _missing(spec: StudySpec, trials: Iterable[Trial], results: Results) -> tuple[Trial, ...]:
    unique = {trial.key(spec): trial for trial in trials}
    return tuple(trial for key, trial in unique.items() if key not in results)


def _most_at_edge(spec: StudySpec, tuning: Tuning, seeds: int, results: Results) -> tuple[str, str] | None:
    """The hyperparameter whose best value is the outermost that was tried, on the same side, in most tunings."""
    sides: dict[tuple[str, str], int] = {}
    for number in range(seeds):
        tried = tuning.tried(spec, number, results)
        best = min((one for one in tried if not one.stopped), key=lambda one: one.loss)
        for at in edges(tuning.space, [one.point for one in tried], best.point) if math.isfinite(best.loss) else ():
            sides[at] = sides.get(at, 0) + 1
    most = max(sides, key=lambda at: sides[at], default=None)
    return most if most is not None and 2 * sides[most] > seeds else None


def _expanded(spec: StudySpec, tuning: Tuning, at: tuple[str, str] | None) -> Tuning:
    """Extra points: in the part that is added where most best points lie at an edge, else in the space as it is."""
    drawn = sum(draw.count for draw in tuning.draws)
    if at is None:
        return replace(tuning, draws=(*tuning.draws, Draw(tuning.space, spec.extra_points, drawn)))
    name, side = at
    beyond = tuning.space[name].beyond("low" if side == "low" else "high")
    more = Draw({**tuning.space, name: beyond}, spec.extra_points, drawn)
    return replace(tuning, draws=(*tuning.draws, more), space={**tuning.space, name: tuning.space[name].union(beyond)})
