"""What was measured of each optimizer: its tuning trials and its confirmation runs, as plain numbers.

Everything is checked here, once: what comes after may rely on it. Losses are lower-is-better; a :class:`Metric` says it for every other number.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
STEPS = Metric("steps to target", ratio=True)


@dataclass(frozen=True)
class TuningTrial:
    """One tuning run: the hyperparameters, the seed, and the validation loss (ignored if it diverged)."""

    point: Mapping[str, Any]
    seed: int
    score: float
    diverged: bool = False

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
class ConfirmationRun:
    """One confirmation run: ``losses[i]`` is the validation loss after ``steps[i]`` steps.

    ``score`` is the validation loss at the end, ``metrics`` are the numbers on the test set. A run that diverged may
    have any of them missing, NaN or infinite: they are not used.
    """

    seed: int
    steps: ArrayLike
    losses: ArrayLike
    score: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    diverged: bool = False

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
        return f"ConfirmationRun(seed {self.seed}, {'diverged' if self.diverged else f'score {self.score:.4g}'})"

    @property
    def curve(self) -> tuple[Array, Array]:
        """Steps and losses as arrays."""
        return np.asarray(self.steps), np.asarray(self.losses)


@dataclass(frozen=True, eq=False, repr=False)
class OptimizerRuns:
    """An optimizer and all that was measured of it.

    Args:
        name: how it is called in every sentence.
        trials: the tuning trials, in any order.
        runs: the confirmation runs at the chosen point, one for each fresh seed.
        point: the point that was confirmed; None takes the best of ``trials`` (:attr:`chosen`).
        kind: which optimizer it is, if the name does not say it: ``adam``.
    """

    name: str
    trials: Sequence[TuningTrial] = ()
    runs: Sequence[ConfirmationRun] = ()
    point: Mapping[str, Any] | None = None
    kind: str = ""

    def __post_init__(self) -> None:
        twice = [seed for seed, count in Counter(run.seed for run in self.runs).items() if count > 1]
        if twice:
            raise ComparisonError(f"{self.name} has more than one confirmation run with seed {twice[0]}.")
        both = [t for t, count in Counter((t.key, t.seed) for t in self.trials).items() if count > 1]
        if both:
            raise ComparisonError(f"{self.name} has the trial {dict(both[0][0])} with seed {both[0][1]} twice.")

    def __repr__(self) -> str:
        return f"OptimizerRuns({self.name!r}, {len(self.trials)} tuning trials, {len(self.runs)} confirmation runs)"

    @property
    def seeds(self) -> list[int]:
        """The seeds of the confirmation runs, in rising order."""
        return sorted(run.seed for run in self.runs)

    @property
    def sweep(self) -> list[TuningTrial]:
        """The trials of the first round: those of the seed that most points were tried with."""
        if not self.trials:
            return []
        seed = Counter(trial.seed for trial in self.trials).most_common(1)[0][0]
        return [trial for trial in self.trials if trial.seed == seed]

    def trials_at(self, key: Key) -> list[TuningTrial]:
        """The trials of one point."""
        return [trial for trial in self.trials if trial.key == key]

    @property
    def chosen(self) -> TuningTrial | None:
        """The first trial of the point that was confirmed; None without trials, or where all diverged.

        Without ``point`` it is the one of least mean score among those tried with the most seeds; a point with a
        diverged trial stands behind all others.
        """
        if self.point is not None:
            at_point = self.trials_at(tuple(sorted(self.point.items())))
            return at_point[0] if at_point else None
        keys = list(dict.fromkeys(trial.key for trial in self.trials))
        groups = [self.trials_at(key) for key in keys]
        if not groups:
            return None
        most = max(len(group) for group in groups)
        means = [
            np.inf if len(group) < most or any(t.diverged for t in group) else float(np.mean([t.score for t in group]))
            for group in groups
        ]
        best = int(np.argmin(means))
        return groups[best][0] if np.isfinite(means[best]) else None


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
