"""Selection bias, the selection bias: the best of many noisy scores is better than the truth.

The tuning score of the chosen point was chosen *because* it is small, so part of it is luck. Fresh seeds show how
much; repeating the choice on simulated noise shows how much was to be expected.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ravine.comparison._judge.measurements import Array, OptimizerRuns
from ravine.comparison._judge.number_text import count, number

_REPEATS = 2000
_SELDOM = 0.01


@dataclass(frozen=True, repr=False)
class SelectionBias:
    """The tuning score of an optimizer's chosen point beside its mean over fresh seeds.

    ``expected`` is how much too good a tuning score the choice among so many points gives by itself; ``error`` is the
    standard error of the fresh mean, and ``p`` the chance that runs as noisy as these differ so much by themselves
    (one-sided t-test). ``shown`` where the score looks too good and either the luck to be expected is more than what
    the fresh seeds leave open or noise alone seldom does that: then nobody should quote the tuning score.
    """

    name: str
    points: int
    tuning: float
    fresh: float
    expected: float
    error: float
    seeds: int
    p: float = 1.0

    def __repr__(self) -> str:
        return f"SelectionBias({self.name!r}, tuning {self.tuning:.4g}, fresh {self.fresh:.4g} ± {self.error:.2g})"

    @property
    def bias(self) -> float:
        """How much better the tuning score looks than the truth on fresh seeds."""
        return self.fresh - self.tuning

    @property
    def shown(self) -> bool:
        return self.bias > 0 and (self.expected > self.error or self.p < _SELDOM)

    @property
    def sentence(self) -> str:
        text = (
            f"{self.name}: the best of {count(self.points, 'point')} scored {number(self.tuning, 3)} in tuning and "
            f"{number(self.fresh, 3)} on {count(self.seeds, 'fresh seed')}"
        )
        if not self.shown:
            return text + "; the gap is within the noise between seeds."
        if self.expected <= self.error:
            return text + f", {number(self.bias)} worse: its tuning runs were lucky. Quote the score on fresh seeds."
        return text + (
            f", {number(self.bias)} worse; about {number(self.expected)} is expected from choosing the best of noisy "
            "scores. Quote the score on fresh seeds."
        )


def selection_bias_of(optimizer: OptimizerRuns) -> SelectionBias | None:
    """The tuning score of the chosen point against fresh seeds; None where there is nothing to compare.

    The noise is the spread of the fresh runs that did not diverge.
    """
    chosen, scores = optimizer.chosen, np.array([run.score for run in optimizer.runs if not run.diverged], dtype=float)
    if chosen is None or scores.size < 2:
        return None
    again = [trial.score for trial in optimizer.trials_at(chosen.key) if not trial.diverged]
    if not again:
        return None
    groups = {trial.key: len(optimizer.trials_at(trial.key)) for trial in optimizer.sweep}
    most = max(groups.values())
    sweep = np.array([trial.score for trial in optimizer.sweep if not trial.diverged], dtype=float)
    noise = float(scores.std(ddof=1))
    if noise <= 1e-12 * np.abs(scores).max():  # what rounding leaves of equal numbers
        noise = 0.0
    tuning, fresh = float(np.mean(again)), float(scores.mean())
    error = noise * np.sqrt(1 / scores.size + 1 / len(again))
    return SelectionBias(
        optimizer.name,
        len(groups),
        tuning,
        fresh,
        expected_bias(sweep, noise, finalists=sum(n == most for n in groups.values()), trials=most),
        noise / np.sqrt(scores.size),
        scores.size,
        float(stats.t.sf((fresh - tuning) / error, scores.size - 1)) if error else 1.0,
    )


def expected_bias(scores: Array, noise: float, *, finalists: int | None = None, trials: int = 1) -> float:
    """How much too small the score of the chosen point is on average.

    The choice is repeated, a fixed number of times from a fixed seed, with the scores as if they were the truth and
    noise on top: the best ``finalists`` get ``trials`` scores in all, and the least mean is chosen. The scores are
    more spread than the truth, so this is 0.6 to 1.15 times the true bias in simulations: an honest order of
    magnitude, seldom too much.
    """
    truth = np.asarray(scores, dtype=float)
    if truth.size < 2 or noise <= 0:
        return 0.0
    rng = np.random.default_rng(0)
    seen = truth + noise * rng.standard_normal((_REPEATS, truth.size))
    last = np.argsort(seen, axis=1)[:, : min(finalists or truth.size, truth.size)]
    rows = np.arange(_REPEATS)
    mean = np.take_along_axis(seen, last, axis=1)
    if trials > 1:
        rest = (trials - 1) * truth[last] + noise * np.sqrt(trials - 1) * rng.standard_normal(last.shape)
        mean = (mean + rest) / trials
    best = mean.argmin(axis=1)
    return float(np.mean(truth[last[rows, best]] - mean[rows, best]))
