"""Studies with made-up results and a known truth, for the tests of the report: nothing is trained."""

import math
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ravine.comparison._result import Result
from ravine.comparison._study.spaces import Space
from ravine.comparison._study.stages import stage
from ravine.comparison._study.step_seconds import StepSeconds
from ravine.comparison._study.study_record import StudyOrigin, StudyRecord
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial, TrialResult
from ravine.errors import OptionError
from ravine.optim._spec import OptimizerSpec, parse
from ravine.optim.search import Range

ORIGIN = StudyOrigin(
    study="compare-digits",
    storage="ravine-out/compare-digits/study.journal",
    command="ravine compare digits -o sgd -o rmsprop -o adam",
    machine="a made-up processor, 2 threads, Linux, Python 3.11.7",
)


def result(
    spec: StudySpec, trial: Trial, floor: float, noise: float, failing: Collection[tuple[str, int]]
) -> TrialResult:
    """A run that falls towards a floor, the lower the nearer the rate lies to 0.02; its noise is that of its seed."""
    if (trial.label, trial.seed) in failing:
        return TrialResult(
            error='Traceback (most recent call last):\n  File "task.py", line 3\nValueError: <b>made up</b>\n'
        )
    if trial.point.get("lr", 0) > 0.3:
        return TrialResult(diverged=True)
    rng = np.random.default_rng([trial.seed, len(trial.label)])
    shared = np.random.default_rng(trial.seed).normal(0, noise)  # what paired seeds have in common
    level = floor + 0.1 * abs(math.log10(trial.point.get("lr", 0.02) / 0.02)) + shared + rng.normal(0, noise / 5)
    every = max(1, spec.steps // spec.evaluations)
    steps = (0, *range(every, spec.steps + 1, every))
    losses = tuple(float(level + math.exp(-5 * s / spec.steps)) for s in steps)
    metrics = {"accuracy": 1 - level / 10, "test_loss": level} if trial.kind == "final" else {}
    watch = {f"{layer}.{part}": 1e-3 * (1 + layer) for layer in (0, 2) for part in ("weight", "bias")}
    return TrialResult(losses[-1], steps, losses, False, metrics, watch, 1e-3)


def study(
    floors: Mapping[str, float],
    *,
    noise: float = 0.01,
    points: int = 8,
    seeds: int = 5,
    failing: Collection[tuple[str, int]] = (),
    origin: StudyOrigin = ORIGIN,
    space: Space | None = None,
    **declared: Any,
) -> Result:
    """A complete study of optimizers whose best losses are ``floors``, by label.

    ``failing`` has pairs of label and seed whose trainings raise; ``space`` is that of all; ``declared`` is more of the spec.
    """
    arms = tuple(OptimizerConfig(label, space or {"lr": Range(1e-4, 1.0)}) for label in floors)
    versions = {"ravine": "0.1.0", "torch": "2.13.0"}
    spec = StudySpec("digits", arms, steps=100, points=points, looks=(seeds,), versions=versions, **declared)
    done: dict[str, TrialResult] = {}
    while (now := stage(spec, done)).name != "done":
        done |= {trial.key(spec): result(spec, trial, floors[trial.label], noise, failing) for trial in now.trials}
    seconds = {label: StepSeconds(1e-3 * (2 + i), 0.1) for i, label in enumerate(floors)}
    return Result(StudyRecord(spec, done, seconds, origin, parsed(floors)))


def parsed(labels: Iterable[str]) -> dict[str, OptimizerSpec]:
    """The optimizers that there are of these, by label."""
    specs = {}
    for label in labels:
        with suppress(OptionError):
            specs[label] = parse(label)
    return specs


def changed(result: Result, **fields: Any) -> Result:
    """The same result as if its record had other fields."""
    return Result(replace(result.record, **fields))
