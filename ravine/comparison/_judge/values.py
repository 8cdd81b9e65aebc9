"""One number for each confirmation run, with the runs that have none kept as bounds.

A run that diverged has no score, and one that missed the target no steps to it. Leaving them out would flatter the
optimizer, so each counts as a *bound*, the least that it can be: a diverged run as the worst value that any run of
the comparison shows, a miss as all the steps it was given (the *restricted* mean of survival analysis: Royston and
Parmar, 2013, https://doi.org/10.1186/1471-2288-13-152). Means and differences are then those of the bounded values,
and every sentence about them says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ravine.comparison._judge.measurements import LOSS, Array, ConfirmationRun, Metric, OptimizerRuns, by_name
from ravine.errors import ComparisonError


@dataclass(frozen=True, eq=False, repr=False)
class Values:
    """One number for each seed of one optimizer.

    Args:
        numbers: seed to value, on the logarithm if the metric is a ratio.
        bounded: the seeds whose value is a bound.
        resolution: how far apart two values must be to be told apart at all; 0 for numbers measured exactly.
    """

    numbers: Mapping[int, float]
    bounded: frozenset[int] = frozenset()
    resolution: float = 0.0

    def __repr__(self) -> str:
        return f"Values({len(self.numbers)} seeds, mean {self.mean:.4g}, {len(self.bounded)} bounded)"

    @property
    def mean(self) -> float:
        """The mean over all seeds."""
        return float(np.mean(list(self.numbers.values())))

    def at(self, seeds: Sequence[int]) -> Array:
        """The values of these seeds, in this order."""
        return np.array([self.numbers[seed] for seed in seeds], dtype=float)


def values_of(optimizers: Sequence[OptimizerRuns], metric: Metric = LOSS) -> dict[str, Values]:
    """The final validation loss, or a metric of the test set, of every confirmation run of these optimizers.

    Raises:
        ComparisonError: an optimizer has no runs, a run that did not diverge lacks the metric, or no run has a value.
    """
    for optimizer in optimizers:
        if not optimizer.runs:
            raise ComparisonError(f"{optimizer.name} has no confirmation runs to judge.")
    sign = -1.0 if metric.higher_is_better else 1.0
    by_seed = {
        optimizer.name: {r.seed: _value(r, metric, optimizer.name) for r in optimizer.runs if not r.diverged}
        for optimizer in optimizers
    }
    numbers = [value for values in by_seed.values() for value in values.values()]
    if not numbers:
        raise ComparisonError(f"No run of {', '.join(by_name(optimizers))} has a {metric.name}: every one diverged.")
    worst = sign * max(sign * value for value in numbers)
    if metric == LOSS:  # a network that diverged is no better than at its first evaluation
        worst = max(worst, *(run.curve[1][0] for optimizer in optimizers for run in optimizer.runs if not run.diverged))
    return {
        optimizer.name: Values(
            {run.seed: by_seed[optimizer.name].get(run.seed, worst) for run in optimizer.runs},
            frozenset(run.seed for run in optimizer.runs if run.diverged),
        )
        for optimizer in optimizers
    }


def _value(run: ConfirmationRun, metric: Metric, name: str) -> float:
    if metric == LOSS:
        return float(run.score)
    value = run.metrics.get(metric.name, np.nan)
    if not np.isfinite(value):
        raise ComparisonError(f"The run of {name} with seed {run.seed} has no {metric.name}: {value}.")
    if metric.ratio and value <= 0:
        raise ComparisonError(f"{metric.name} of {name} is {value} at seed {run.seed}: no ratio can be taken of it.")
    return float(np.log(value) if metric.ratio else value)
