"""The loss that has to be reached, and how many steps each run took to it.

The target comes from all optimizers and from their tunings, not from the runs that are judged: of each optimizer the
median over its tunings of the best score, and of these the middle one, of an even number the higher. So about half of the
optimizers reach it, and the order in which they are named changes nothing.

A run that misses the target is censored: all that is known is that it takes more than all its steps. Three numbers
stay true of censored runs, and are given: the share that reached it, the restricted mean (of the steps up to the
horizon; Royston and Parmar, 2013, https://doi.org/10.1186/1471-2288-13-152), and a rank test, in which a miss is behind
every number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from ravine.comparison._judge.measurements import Array, FreshRun, OptimizerRuns, finite_number
from ravine.comparison._judge.number_text import count, number
from ravine.errors import ComparisonError, OptionError, shown


@dataclass(frozen=True)
class Target:
    """A validation loss, and of how many optimizers it is the middle; 0 if it was given."""

    loss: float
    optimizers: int = 0

    @property
    def sentence(self) -> str:
        text = f"The target is a validation loss of {number(self.loss, 3)}"
        if self.optimizers < 2:
            return f"{text}."
        who = "both optimizers" if self.optimizers == 2 else f"most of the {self.optimizers} optimizers"
        return f"{text}, which {who} reach in at least half of their tunings."


@dataclass(frozen=True, eq=False, repr=False)
class StepsToTarget:
    """How many steps each run of an optimizer took to the target.

    ``steps`` has NaN for a run that missed it; ``diverged`` are those of the misses that diverged.
    """

    name: str
    steps: Mapping[int, float]
    diverged: frozenset[int]
    horizon: float

    def __repr__(self) -> str:
        return f"StepsToTarget({self.name!r}, {self.reached_text} runs, median {self.median:g})"

    @property
    def missed(self) -> frozenset[int]:
        """The seeds that missed the target, diverged or not."""
        return frozenset(seed for seed, steps in self.steps.items() if np.isnan(steps))

    @property
    def missed_by_most(self) -> bool:
        """Whether more than half of the runs missed it."""
        return 2 * len(self.missed) > len(self.steps)

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
    def restricted_mean(self) -> float:
        """The mean of the steps up to the horizon, where a run that missed the target has taken all of them."""
        return float(np.mean([self.horizon if np.isnan(steps) else steps for steps in self.steps.values()]))

    @property
    def share_interval(self) -> tuple[float, float]:
        """The exact 95% interval of the share of runs that reach the target (Clopper and Pearson, 1934)."""
        share = scipy.stats.binomtest(len(self.steps) - len(self.missed), len(self.steps)).proportion_ci(0.95)
        return float(share.low), float(share.high)

    def rank_p(self, other: "StepsToTarget") -> float:
        """The p-value of Wilcoxon's signed-rank test against another on the same seeds; a miss is behind every number."""
        seeds = [seed for seed in self.steps if seed in other.steps]
        mine, theirs = (
            np.array([np.inf if np.isnan(each.steps[seed]) else each.steps[seed] for seed in seeds])
            for each in (self, other)
        )
        farthest = 2 * max(self.horizon, other.horizon)
        difference = np.where(mine == theirs, 0.0, np.minimum(mine, farthest) - np.minimum(theirs, farthest))
        return _signed_rank_p(difference)

    @property
    def sentence(self) -> str:
        n, missed, diverged = len(self.steps), len(self.missed), len(self.diverged)
        what = f"{self.name} reached the target in {n - missed or 'none'} of {count(n, 'run')}"
        if missed < n and np.isfinite(self.median):
            what += f", in a median of {number(self.median, 3)} steps"
        return what + (f"; {diverged} of the {'others' if missed < n else 'runs'} diverged." if diverged else ".")


def rank_tests(steps: Mapping[str, StepsToTarget], first: str) -> dict[str, float]:
    """The p-value of the rank test of every optimizer against the first, corrected for their number (Holm, 1979).

    The chance that any of those below .05 is wrong is at most .05.
    """
    against = {name: taken.rank_p(steps[first]) for name, taken in steps.items() if name != first}
    corrected, least = dict[str, float](), 0.0
    for place, name in enumerate(sorted(against, key=lambda name: against[name])):
        least = max(least, min(1.0, (len(against) - place) * against[name]))
        corrected[name] = least
    return corrected


def check_target(target: object, what: str) -> None:
    """Refuse what is no ``what`` to be reached; None is no target.

    Raises:
        OptionError: it is no finite number.
    """
    if target is not None and not finite_number(target):
        raise OptionError(f"target = {shown(target)}: a {what} to be reached, a finite number.")


def target_of(optimizers: Sequence[OptimizerRuns], tunings: int | None = None) -> Target:
    """The middle one of the optimizers' median best tuning scores.

    Args:
        optimizers: with their tuning trials.
        tunings: how many tunings of each count, so that the target stays when more are added; None is all.

    Raises:
        ComparisonError: there are no tuning trials, or so many diverged that the middle one has no score.
    """
    medians = sorted(float(np.median(each.tuned[:tunings])) for each in optimizers if each.trials)
    if not medians:
        raise ComparisonError("No optimizer was tuned, so there is no score to take a target from.")
    loss = medians[len(medians) // 2]
    if not np.isfinite(loss):
        lost = sum(not np.isfinite(median) for median in medians)
        raise ComparisonError(f"{lost} of {len(medians)} optimizers diverged in at least half of their tunings.")
    return Target(loss, len(medians))


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
    if all(not run.diverged and _at_first(run) <= loss for run in runs):
        raise ComparisonError(
            f"The target of {number(loss, 3)} is degenerate: every run meets it at its first evaluation, so it "
            "cannot tell optimizers apart. Train longer, evaluate more often, or choose a harder task."
        )
    by_name: dict[str, StepsToTarget] = {}
    for optimizer in optimizers:
        by_name[optimizer.name] = StepsToTarget(
            optimizer.name,
            {run.seed: _first(run, loss) for run in optimizer.runs},
            frozenset(run.seed for run in optimizer.runs if run.diverged),
            float(max(ends)),
        )
    return by_name


def _signed_rank_p(difference: Array) -> float:
    """Exact, with ties (of equal ranks the mean) and zeros (which have a rank but no sign; Pratt, 1959)."""
    doubled = np.rint(2 * scipy.stats.rankdata(np.abs(difference))).astype(int)
    signed = difference != 0
    chance = np.ones(1)  # of each sum of the ranks with a plus
    for rank in doubled[signed]:
        chance = np.convolve(chance, np.r_[0.5, np.zeros(rank - 1), 0.5])
    plus = int(doubled[difference > 0].sum())
    return min(1.0, 2 * float(min(chance[: plus + 1].sum(), chance[plus:].sum())))


def _at_first(run: FreshRun) -> float:
    """The least loss up to the first evaluation that is not at step 0."""
    steps, losses = run.curve
    return float(losses[: 2 if steps[0] == 0 else 1].min())


def _first(run: FreshRun, loss: float) -> float:
    """The first step at or below the loss; NaN for a miss."""
    steps, losses = run.curve
    hits = np.flatnonzero(losses <= loss)
    return np.nan if run.diverged or not hits.size else float(steps[hits[0]])
