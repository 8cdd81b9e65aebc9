"""Selection bias: the best of many noisy scores is better than the truth.

The tuning score of the chosen point was chosen *because* it is small, so part of it is luck. Every tuning is followed by a
fresh run at the point that it chose, so the luck is measured: fresh minus tuned, over all tunings. Tuning seeds and fresh
seeds are easy or hard at random, so their effect is in the interval and not in the mean.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from ravine.comparison._judge.measurements import OptimizerRuns
from ravine.comparison._judge.number_text import count, number


@dataclass(frozen=True, repr=False)
class SelectionBias:
    """The tuning scores of an optimizer's chosen points beside fresh runs at the same points.

    Attributes:
        name: the optimizer.
        points: how many points a tuning tries.
        tunings: how many tunings have a score and a fresh run that did not diverge.
        tuning, fresh: the mean scores.
        low, high: the 95% interval of fresh minus tuned, by a paired t-test.
    """

    name: str
    points: int
    tunings: int
    tuning: float
    fresh: float
    low: float
    high: float

    def __repr__(self) -> str:
        return f"SelectionBias({self.name!r}, tuning {self.tuning:.4g}, fresh {self.fresh:.4g})"

    @property
    def bias(self) -> float:
        """How much better the tuning score looks than the truth on fresh seeds."""
        return self.fresh - self.tuning

    @property
    def shown(self) -> bool:
        """Whether it is more than noise."""
        return self.low > 0

    @property
    def sentence(self) -> str:
        text = (
            f"{self.name}: the best of {count(self.points, 'point')} scored {number(self.tuning, 3)} in tuning and "
            f"{number(self.fresh, 3)} in fresh runs, over {count(self.tunings, 'tuning')}"
        )
        if not self.shown:
            return text + "; the gap is within the noise between seeds."
        return text + f": {number(self.bias)} of its tuning score is luck. Quote the score of fresh runs."


def selection_bias_of(optimizer: OptimizerRuns) -> SelectionBias | None:
    """The tuning scores of the chosen points against fresh runs; None with fewer than two points or two tunings."""
    tuned, runs = optimizer.tuned, optimizer.runs
    points = len(optimizer.trials) // max(1, len(tuned))
    pairs = [(t, r.score) for t, r in zip(tuned, runs, strict=False) if np.isfinite(t) and not r.diverged]
    if points < 2 or len(pairs) < 2:
        return None
    before, after = np.array(pairs).T
    difference = after - before
    reach = scipy.stats.t.ppf(0.975, len(pairs) - 1) * difference.std(ddof=1) / np.sqrt(len(pairs))
    middle = float(difference.mean())
    return SelectionBias(
        optimizer.name,
        points,
        len(pairs),
        float(before.mean()),
        float(after.mean()),
        middle - float(reach),
        middle + float(reach),
    )
