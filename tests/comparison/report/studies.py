"""Studies with made-up outcomes and a known truth, for the tests of the report: nothing is trained."""

import math
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ravine.comparison._result import Result
from ravine.comparison._study.stages import stage
from ravine.comparison._study.step_seconds import Seconds
from ravine.comparison._study.study_record import About, StudyRecord
from ravine.comparison._study.study_spec import ArmSpec, Spec
from ravine.comparison._study.trial import Outcome
from ravine.errors import OptionError
from ravine.optim._spec import parse
from ravine.optim.search import Range

ABOUT = About(
    study="compare-digits",
    storage="ravine-out/compare-digits/study.journal",
    command="ravine compare digits -o sgd -o rmsprop -o adam",
    machine="a made-up processor, 2 threads, Linux, Python 3.11.7",
)


def outcome(spec, job, floor, noise, failing):
    """A run that falls towards a floor, the lower the nearer the rate lies to 0.02; its noise is that of its seed."""
    if (job.label, job.seed) in failing:
        return Outcome(
            error='Traceback (most recent call last):\n  File "task.py", line 3\nValueError: <b>made up</b>\n'
        )
    if job.point.get("lr", 0) > 0.3:
        return Outcome(diverged=True)
    rng = np.random.default_rng([job.seed, len(job.label)])
    shared = np.random.default_rng(job.seed).normal(0, noise)  # what paired seeds have in common
    level = floor + 0.1 * abs(math.log10(job.point.get("lr", 0.02) / 0.02)) + shared + rng.normal(0, noise / 5)
    every = max(1, spec.steps // spec.evaluations)
    steps = tuple(range(every, spec.steps + 1, every))
    losses = tuple(float(level + math.exp(-5 * s / spec.steps)) for s in steps)
    metrics = {"accuracy": 1 - level / 10, "test_loss": level} if job.kind == "confirm" else {}
    watch = {f"{layer}.{part}": 1e-3 * (1 + layer) for layer in (0, 2) for part in ("weight", "bias")}
    return Outcome(losses[-1], steps, losses, False, metrics, watch, 1e-3)


def study(floors, *, noise=0.01, points=8, seeds=5, failing=(), about=ABOUT, space=None):
    """A complete study of optimizers whose best losses are ``floors``, by label.

    ``failing`` has pairs of label and seed whose trainings raise; ``space`` is that of all.
    """
    arms = tuple(ArmSpec(label, space or {"lr": Range(1e-4, 1.0)}) for label in floors)
    versions = {"ravine": "0.1.0", "torch": "2.13.0"}
    spec = Spec("digits", arms, steps=100, points=points, seeds=seeds, versions=versions)
    done = {}
    while (now := stage(spec, done)).name != "done":
        done |= {job.key(spec): outcome(spec, job, floors[job.label], noise, failing) for job in now.jobs}
    seconds = {label: Seconds(1e-3 * (2 + i), 0.1) for i, label in enumerate(floors)}
    return Result(StudyRecord(spec, done, seconds, about, parsed(floors)))


def parsed(labels):
    """The optimizers that there are of these, by label."""
    found = {}
    for label in labels:
        with suppress(OptionError):
            found[label] = parse(label)
    return found


def changed(result, **fields):
    """The same result as if its record had other fields."""
    return Result(replace(result.record, **fields))
