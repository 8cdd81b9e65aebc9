"""One number for each fresh run, with the runs that have none kept as bounds.

A run that diverged has no loss. Leaving it out would flatter the optimizer; counting it as the worst of all runs would
make the verdict on two optimizers depend on a third. So it counts as the loss that it began with: as if nothing had been
trained. A run that ends above where it began has not trained anything either, and counts as that, too. Its metrics of the test
set are not known at all: they are NaN.

Runs are paired by seed: run i of one optimizer and run i of another are compared, so they must be of the same seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ravine.comparison._judge.measurements import LOSS, Array, FreshRun, Metric, OptimizerRuns, by_name
from ravine.errors import ComparisonError, an

#: Losses of test functions below this are equal: float32 holds no better minimum.
LEAST = 1e-16


@dataclass(frozen=True, eq=False, repr=False)
class Values:
    """One number for each seed of one optimizer.

    Args:
        numbers: seed to value, on the logarithm if the metric is a ratio.
        bounded: the seeds whose run diverged.
    """

    numbers: Mapping[int, float]
    bounded: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        return f"Values({len(self.numbers)} seeds, mean {self.mean:.4g}, {len(self.bounded)} bounded)"

    @property
    def mean(self) -> float:
        """The mean over all seeds."""
        return float(np.mean(list(self.numbers.values())))

    @property
    def array(self) -> Array:
        """The values in the order of the runs."""
        return np.array(list(self.numbers.values()), dtype=float)


def values_of(optimizers: Sequence[OptimizerRuns], metric: Metric = LOSS) -> dict[str, Values]:
    """The final validation loss, or a metric of the test set, of every fresh run of these optimizers.

    Raises:
        ComparisonError: an optimizer has no runs, a run that did not diverge lacks the metric, or no run has a value.
    """
    for optimizer in optimizers:
        if not optimizer.runs:
            raise ComparisonError(f"{optimizer.name} has no fresh runs to judge.")
    if all(run.diverged for optimizer in optimizers for run in optimizer.runs):
        raise ComparisonError(f"No run of {', '.join(by_name(optimizers))} has {an(metric.name)}: every one diverged.")
    if metric.name == LOSS.name:
        read = _losses(optimizers)
    else:
        read = [[_metric(run, metric, each.name) for run in each.runs] for each in optimizers]
    return {
        optimizer.name: Values(
            {run.seed: _scaled(value, metric) for run, value in zip(optimizer.runs, numbers, strict=True)},
            frozenset(run.seed for run in optimizer.runs if run.diverged),
        )
        for optimizer, numbers in zip(optimizers, read, strict=True)
    }


def _losses(optimizers: Sequence[OptimizerRuns]) -> list[list[float]]:
    runs = [run for optimizer in optimizers for run in optimizer.runs]
    known = [run for run in runs if np.isfinite(run.start)]
    usual = float(np.median([run.start for run in known])) if known else np.nan
    # Of curves that begin later nobody knows the start: it is no less than what most of them show first.
    first = [float(run.curve[1][0]) for run in runs if run.curve[1].size and np.isfinite(run.curve[1][0])]
    shown = float(np.median(first)) if first else np.nan

    def began(run: FreshRun) -> float:
        if np.isfinite(run.start):
            return run.start
        same = [other.start for other in known if other.seed == run.seed]
        own = float(run.curve[1][0]) if run.curve[1].size else np.nan
        return float(np.median(same)) if same else usual if known else float(np.nanmax([shown, own]))

    def value(run: FreshRun) -> float:
        if run.diverged:
            return began(run)
        return min(float(run.score), run.start) if np.isfinite(run.start) else float(run.score)

    return [[value(run) for run in optimizer.runs] for optimizer in optimizers]


def paired(values: Mapping[str, Values]) -> tuple[dict[str, Array], int]:
    """The values as arrays in which row i is the same seed for all, and how many runs were left out for that.

    They are as they came where all optimizers began with the same seeds, of whatever number. Otherwise only seeds count
    that all of them have; where these are fewer than two, runs are paired by nothing but their order.
    """
    seeds = [list(each.numbers) for each in values.values()]
    longest = max(seeds, key=len)
    common = sorted(set(longest).intersection(*seeds))
    if all(own == longest[: len(own)] for own in seeds) or len(common) < 2:
        return {name: each.array for name, each in values.items()}, 0
    arrays = {name: np.array([each.numbers[seed] for seed in common]) for name, each in values.items()}
    return arrays, sum(map(len, seeds)) - len(common) * len(seeds)


def _metric(run: FreshRun, metric: Metric, name: str) -> float:
    """Of the test set; NaN of a run that diverged."""
    if run.diverged:
        return np.nan
    value = run.metrics.get(metric.name, np.nan)
    if not np.isfinite(value):
        raise ComparisonError(f"The run of {name} with seed {run.seed} has no {metric.name}: {value}.")
    return float(value)


def _scaled(value: float, metric: Metric) -> float:
    return float(np.log(max(value, LEAST))) if metric.ratio else value
