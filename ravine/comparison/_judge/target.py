"""The loss that has to be reached, and how many steps each run took to it.

The target is what a tuned reference reaches: the median over its seeds of the best validation loss, of an even number
the larger of the two in the middle. So more than half of the reference's runs reach it, and the question "how many
steps?" has an answer for an optimizer that is about as good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high

import numpy as np

from ravine.comparison._judge.measurements import ConfirmationRun, OptimizerRuns
from ravine.comparison._judge.number_text import count, number
from ravine.comparison._judge.values import Values
from ravine.errors import ComparisonError


@dataclass(frozen=True)
class Target:
    """A validation loss, and the optimizer it comes from."""

    loss: float
    reference: str
    seeds: int

    @property
    def sentence(self) -> str:
        return (
            f"The target is a validation loss of {number(self.loss, 3)}: "
            f"the lowest that at least half of {count(self.seeds, 'run')} of {self.reference} reached."
        )


@dataclass(frozen=True, eq=False, repr=False)
class StepsToTarget:
    """How many steps each run of an optimizer took to the target.

    ``steps`` has NaN for a run that missed it; ``diverged`` are those of the misses that diverged. ``spacing`` is
    seed to the steps between the evaluation that met the target and the one before it.
    """

    name: str
    steps: Mapping[int, float]
    spacing: Mapping[int, float]
    diverged: frozenset[int]
    horizon: float

    def __repr__(self) -> str:
        return f"StepsToTarget({self.name!r}, {self.reached_text} runs, median {self.median:g})"

    @property
    def missed(self) -> frozenset[int]:
        """The seeds that missed the target, diverged or not."""
        return frozenset(seed for seed, steps in self.steps.items() if np.isnan(steps))

    @property
    def reached(self) -> list[float]:
        """The steps of the runs that reached the target, fewest first."""
        return sorted(steps for steps in self.steps.values() if not np.isnan(steps))

    @property
    def reached_text(self) -> str:
        """How many runs reached it: ``4 of 5``."""
        return f"{len(self.reached)} of {len(self.steps)}"

    @property
    def median(self) -> float:
        """The median over all runs, a miss standing behind every number; infinite if half of them missed."""
        return float(np.median([np.inf if np.isnan(steps) else steps for steps in self.steps.values()]))

    @property
    def values(self) -> Values:
        """For :func:`ravine.comparison._judge.compare`: logarithms, a miss bounded by the steps it was given.

        A run is only looked at now and then, so its steps are known up to one interval between evaluations: that
        fraction of the steps is the resolution.
        """
        bounded = {s: self.horizon if np.isnan(v) else max(v, 1.0) for s, v in self.steps.items()}
        fractions = [self.spacing[seed] / steps for seed, steps in bounded.items() if seed not in self.missed]
        resolution = float(np.mean(fractions)) if fractions else 0.0
        return Values({seed: float(np.log(v)) for seed, v in bounded.items()}, self.missed, resolution)

    @property
    def sentence(self) -> str:
        n, missed, diverged = len(self.steps), len(self.missed), len(self.diverged)
        what = f"{self.name} reached the target in {n - missed} of {count(n, 'run')}"
        if missed < n and np.isfinite(self.median):
            what += f", in a median of {number(self.median, 3)} steps"
        return what + (f"; {diverged} of the others diverged." if diverged else ".")


def target_of(reference: OptimizerRuns) -> Target:
    """The median over the reference's seeds of the best validation loss of each run; diverged ones stand last.

    Raises:
        ComparisonError: it has no runs, or half of them diverged.
    """
    if not reference.runs:
        raise ComparisonError(f"The reference {reference.name} has no confirmation runs to take a target from.")
    best = [np.inf if run.diverged else run.curve[1].min() for run in reference.runs]
    loss = float(median_high(best))
    if not np.isfinite(loss):
        lost = int(np.sum(np.isinf(best)))
        raise ComparisonError(
            f"{lost} of {len(best)} runs of the reference {reference.name} diverged, so there is no target. "
            "Choose another reference, or tune this one again."
        )
    return Target(loss, reference.name, len(best))


def steps_to(target: Target | float, optimizers: Sequence[OptimizerRuns]) -> dict[str, StepsToTarget]:
    """The first step of each run at which its curve is at or below the target.

    A run that diverged counts as a miss, also if it met the target before.

    Raises:
        ComparisonError: the target is degenerate: every run meets it at its first evaluation.
    """
    loss = target.loss if isinstance(target, Target) else float(target)
    runs = [run for optimizer in optimizers for run in optimizer.runs]
    ends = [run.curve[0][-1] for run in runs if run.curve[0].size]
    if not ends:
        raise ComparisonError("There is no run with a curve to look for the target in.")
    if all(not run.diverged and run.curve[1][0] <= loss for run in runs):
        raise ComparisonError(
            f"The target of {number(loss, 3)} is degenerate: every run meets it at its first evaluation, so it "
            "cannot tell optimizers apart. Train longer, evaluate more often, or choose a harder task."
        )
    by_name: dict[str, StepsToTarget] = {}
    for optimizer in optimizers:
        met = {run.seed: _first(run, loss) for run in optimizer.runs}
        by_name[optimizer.name] = StepsToTarget(
            optimizer.name,
            {seed: step for seed, (step, _) in met.items()},
            {seed: gap for seed, (_, gap) in met.items()},
            frozenset(run.seed for run in optimizer.runs if run.diverged),
            float(max(ends)),
        )
    return by_name


def _first(run: ConfirmationRun, loss: float) -> tuple[float, float]:
    """The first step at or below the loss and its distance to the evaluation before; NaN twice for a miss."""
    steps, losses = run.curve
    hits = np.flatnonzero(losses <= loss)
    if run.diverged or not hits.size:
        return np.nan, np.nan
    at = int(hits[0])
    return float(steps[at]), float(steps[at] - (steps[at - 1] if at else 0.0))
