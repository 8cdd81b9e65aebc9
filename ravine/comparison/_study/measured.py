"""What the trials of a study gave, as the judgement takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ravine.comparison._judge import FreshRun, OptimizerRuns, TuningTrial
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.tuning import Results, Tuning, final_trial


def measured_runs(
    spec: StudySpec,
    tunings: Sequence[Tuning],
    results: Results,
    seeds: int,
    kinds: Mapping[str, str] | None = None,
) -> list[OptimizerRuns]:
    """What was measured of each optimizer with the first so many seeds, or as many as it has.

    Args:
        spec, tunings, results: the study.
        seeds: how many seeds.
        kinds: which optimizer it is, by label.
    """
    return [_of_one(spec, t, results, seeds, (kinds or {}).get(t.config.label, "")) for t in tunings]


def _of_one(spec: StudySpec, tuning: Tuning, results: Results, seeds: int, kind: str) -> OptimizerRuns:
    label = tuning.config.label
    trials: list[TuningTrial] = []
    runs: list[FreshRun] = []
    budget: dict[int, list[float]] = {among: [] for among in spec.budgets}
    for number in range(seeds):
        if not tuning.complete(spec, number, results):
            break
        point = tuning.best(spec, number, results)
        fresh = {among: tuning.best(spec, number, results, among) for among in spec.budgets}
        after = {among: results.get(final_trial(spec, label, p, number).key(spec)) for among, p in fresh.items()}
        done = results.get(final_trial(spec, label, point, number).key(spec))
        if done is None or None in after.values():
            break
        seed = spec.tuning_seed(number)
        trials += [
            TuningTrial(tried.point, seed, tried.loss, not math.isfinite(tried.loss), tried.stopped)
            for tried in tuning.tried(spec, number, results)
        ]
        metrics = {name.replace("_", " "): value for name, value in done.metrics.items()}
        runs.append(
            FreshRun(spec.fresh_seed(number), done.steps, done.losses, done.score, metrics, done.diverged, point)
        )
        for among, losses in budget.items():
            one = after[among]
            losses.append(math.inf if one is None or one.diverged else one.score)
    tuned = budget if tuning.config.space and runs else {}
    return OptimizerRuns(label, trials, runs, tuned, kind)
