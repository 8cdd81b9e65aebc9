"""The interquartile mean over tasks, with an interval from runs that are drawn again within each task.

It is that of Agarwal et al. (2021, arXiv:2108.13264), and so is the bootstrap, stratified by task.

The usual percentiles are too narrow for a handful of runs. So of n runs n - 1 are drawn, which makes the variance right (Rao
and Wu, 1988, https://doi.org/10.1080/01621459.1988.10478591), and the interval is that of Student's t around the value, with
as few degrees of freedom as the task with the fewest runs has: the noise may be that of one task alone. Where two tasks lie
so far apart that the middle half is the upper half of one and the lower half of the other, five runs know too little of
their middle all the same: 95% are about 90% there (as measured by ``benchmarks/many_tasks``).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from ravine.comparison._across.shares import Estimate
from ravine.comparison._judge.measurements import Array

RESAMPLES = 2_000


class Resampling:
    """Weights of the runs on each task, for the runs as they are and for each time that they are drawn again.

    Args:
        runs: how many runs there are, of each number that occurs, on each task.
        resamples: how many times.
        seed: the same one gives the same intervals.
    """

    def __init__(self, runs: Sequence[Sequence[int]], *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._weights: list[Mapping[int, Array]] = []
        for of_task in runs:
            weights = {}
            for n in sorted(set(of_task)):
                drawn = rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples) / (n - 1)
                weights[n] = np.concatenate([np.full((1, n), 1 / n), drawn])
            self._weights.append(weights)
        self.freedom = min(min(of_task) - 1 for of_task in runs)

    def weights(self, task: int, runs: int) -> Array:
        """(resamples + 1, runs): the weights of so many runs on a task, the first row for the runs as they are."""
        return self._weights[task][runs]

    def estimate(self, values: Array, alpha: float = 0.05) -> Estimate:
        """The value of the runs as they are, the first, and the interval that the others give."""
        reach = float(scipy.stats.t.isf(alpha / 2, self.freedom) * values[1:].std())
        return Estimate(float(values[0]), float(values[0]) - reach, float(values[0]) + reach)


def interquartile_means(
    tasks: Sequence[Mapping[str, Array]], resampling: Resampling, alpha: float = 0.05
) -> dict[str, Estimate]:
    """Of each optimizer the mean of the middle half of all its scores, whatever task they are of.

    Every task weighs the same, also where it has fewer runs. With equally many runs, whose number is a multiple of 4, it is
    ``scipy.stats.trim_mean(scores, 0.25)``; otherwise it takes parts of the runs at the ends instead of leaving out more.
    """
    means = {}
    for name in tasks[0]:
        scores = np.concatenate([task[name] for task in tasks])
        weights = np.concatenate([resampling.weights(m, len(t[name])) for m, t in enumerate(tasks)], axis=1) / len(
            tasks
        )
        order = np.argsort(scores, kind="stable")
        upto = np.cumsum(weights[:, order], axis=1)
        middle = np.clip(upto, 0.25, 0.75)
        parts = np.diff(middle, axis=1, prepend=0.25)
        means[name] = resampling.estimate(2 * parts @ scores[order], alpha)
    return means
