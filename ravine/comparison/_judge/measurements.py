"""What was measured of each optimizer: its tuning trials and its fresh runs, as plain numbers.

Everything is checked here, once: what comes after may rely on it. Losses are lower-is-better; a :class:`Metric` says it for every other number.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ravine.errors import ComparisonError

Array = NDArray[np.float64]
Key = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Metric:
    """What is compared, and which direction is better.

    With ``ratio`` two values are compared by how many times one is the other, on the logarithm; otherwise by their
    difference.
    """

    name: str
    higher_is_better: bool = False
    ratio: bool = False


LOSS = Metric("validation loss")


@dataclass(frozen=True)
class TuningTrial:
    """One tuning run: the hyperparameters, the seed, and the validation loss (ignored if it diverged).

    One that was ``stopped`` early has the loss of that moment: it cannot be the best, and is compared with nothing.
    """

    point: Mapping[str, Any]
    seed: int
    score: float
    diverged: bool = False
    stopped: bool = False

    def __post_init__(self) -> None:
        if not self.diverged and not np.isfinite(self.score):
            raise ComparisonError(
                f"A trial at {dict(self.point)} has the score {self.score} but is not marked diverged."
            )

    @property
    def key(self) -> Key:
        """The point as something that can be compared and hashed."""
        return tuple(sorted(self.point.items()))


@dataclass(frozen=True, eq=False, repr=False)
class FreshRun:
    """One fresh run: ``losses[i]`` is the validation loss after ``steps[i]`` steps.

    ``score`` is the validation loss at the end, ``metrics`` are the numbers on the test set. A run that diverged may
    have any of them missing, NaN or infinite: they are not used. ``point`` is what was trained: the best of the points
    that this seed's tuning tried.
    """

    seed: int
    steps: ArrayLike
    losses: ArrayLike
    score: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    diverged: bool = False
    point: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps, losses = np.asarray(self.steps, dtype=float), np.asarray(self.losses, dtype=float)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "losses", losses)
        where = f"The curve of seed {self.seed}"
        if steps.ndim != 1 or steps.shape != losses.shape:
            raise ComparisonError(f"{where} has steps of shape {steps.shape} and losses of shape {losses.shape}.")
        if not (np.isfinite(steps).all() and (steps >= 0).all() and (np.diff(steps) > 0).all()):
            raise ComparisonError(f"{where} has steps that do not rise from one evaluation to the next.")
        if self.diverged:
            return
        if not steps.size:
            raise ComparisonError(f"{where} is empty, but the run is not marked diverged.")
        if not (np.isfinite(losses).all() and np.isfinite(self.score)):
            raise ComparisonError(f"{where}, or its score, is not finite, but the run is not marked diverged.")

    def __repr__(self) -> str:
        return f"FreshRun(seed {self.seed}, {'diverged' if self.diverged else f'score {self.score:.4g}'})"

    @property
    def curve(self) -> tuple[Array, Array]:
        """Steps and losses as arrays."""
        return np.asarray(self.steps), np.asarray(self.losses)

    @property
    def start(self) -> float:
        """The loss before the first step; NaN where the curve begins later."""
        steps, losses = self.curve
        return float(losses[0]) if steps.size and steps[0] == 0 else np.nan


@dataclass(frozen=True, eq=False, repr=False)
class OptimizerRuns:
    """An optimizer and all that was measured of it.

    Args:
        name: how it is called in every sentence.
        trials: the tuning trials; those of one seed are one tuning.
        runs: the fresh runs, one for each tuning, in the same order for all optimizers.
        budget: by number of points, the final loss of a fresh run at the best of so many first points of each tuning;
            infinite where it diverged.
        kind: which optimizer it is, if the name does not say it: ``adam``.
    """

    name: str
    trials: Sequence[TuningTrial] = ()
    runs: Sequence[FreshRun] = ()
    budget: Mapping[int, Sequence[float]] = field(default_factory=dict)
    kind: str = ""

    def __post_init__(self) -> None:
        twice = [seed for seed, count in Counter(run.seed for run in self.runs).items() if count > 1]
        if twice:
            raise ComparisonError(f"{self.name} has more than one fresh run with seed {twice[0]}.")
        both = [t for t, count in Counter((t.key, t.seed) for t in self.trials).items() if count > 1]
        if both:
            raise ComparisonError(f"{self.name} has the trial {dict(both[0][0])} with seed {both[0][1]} twice.")

    def __repr__(self) -> str:
        return f"OptimizerRuns({self.name!r}, {len(self.trials)} tuning trials, {len(self.runs)} fresh runs)"

    @property
    def seeds(self) -> list[int]:
        """The seeds of the fresh runs, in rising order."""
        return sorted(run.seed for run in self.runs)

    @property
    def tuned(self) -> list[float]:
        """The best score of each tuning, in the order of the trials; infinite where none of its points has one at the end."""
        best: dict[int, float] = {}
        for trial in self.trials:
            score = np.inf if trial.diverged or trial.stopped else trial.score
            best[trial.seed] = min(best.get(trial.seed, np.inf), score)
        return list(best.values())

    @property
    def typical(self) -> Mapping[str, Any]:
        """The chosen point in the middle: of the run with the median learning rate. Empty without runs."""
        if not self.runs:
            return {}
        ordered = sorted(self.runs, key=lambda run: [run.point.get("lr", 0.0), *map(str, run.point.values())])
        return ordered[(len(ordered) - 1) // 2].point


def by_name(optimizers: Sequence[OptimizerRuns]) -> dict[str, OptimizerRuns]:
    """The optimizers by name.

    Raises:
        ComparisonError: two have the same name.
    """
    named = {optimizer.name: optimizer for optimizer in optimizers}
    if len(named) < len(optimizers):
        raise ComparisonError(
            f"Two optimizers have the same name: {', '.join(sorted(optimizer.name for optimizer in optimizers))}."
        )
    return named


def finite_number(value: object) -> bool:
    """Whether it is a number that a float holds; a bool is none."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))
    except OverflowError:  # a Python int of hundreds of digits
        return False
