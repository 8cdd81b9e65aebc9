"""What the trials of a study gave, as the judgement takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ravine.comparison._judge import ConfirmationRun, OptimizerRuns, TuningTrial
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
    runs: list[ConfirmationRun] = []
    budget: dict[int, list[float]] = {among: [] for among in spec.budgets}
    for number in range(seeds):
        tried = tuning.tried(spec, number, results)
        if len(tried) < len(tuning.points(number)):
            break
        point = tuning.best(spec, number, results)
        done = results.get(final_trial(spec, label, point, number).key(spec))
        if done is None:
            break
        seed = spec.tuning_seed(number)
        trials += [TuningTrial(p, seed, score, not math.isfinite(score)) for p, score in tried]
        metrics = {name.replace("_", " "): value for name, value in done.metrics.items()}
        runs.append(
            ConfirmationRun(spec.fresh_seed(number), done.steps, done.losses, done.score, metrics, done.diverged, point)
        )
        for among, losses in budget.items():
            first = tuning.best(spec, number, results, among)
            after = results.get(final_trial(spec, label, first, number).key(spec))
            losses.append(math.inf if after is None or after.diverged else after.score)
    tuned = budget if tuning.config.space and runs else {}
    return OptimizerRuns(label, trials, runs, tuned, kind)
