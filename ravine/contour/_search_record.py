"""Everything that was tried on one function, and the rule that chooses each optimizer's best rate.

A picture of one trajectory is easily tuned to please. So all optimizers get the same rates, evenly spaced in the
logarithm, the same starts and the same number of steps, everything that was tried is kept, and one rule chooses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ravine._whole_numbers import count
from ravine.contour._trajectories import Trajectory
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Surface

FLOOR = 1e-10
"""Of the highest value at a start: a final value below this share of it counts as this share."""

_NEAR = 0.01  # of the value at the highest start: a function that falls below this is taken to end at 0


@dataclass(frozen=True, eq=False, repr=False)
class Entry:
    """All searches of one optimizer.

    Attributes:
        spec: the optimizer, without a learning rate.
        trajectories: by rate and then by start.
        family, value: of one of several values of a swept hyperparameter the optimizer's label without it, and the
            value as text.
    """

    spec: OptimizerSpec
    trajectories: tuple[tuple[Trajectory, ...], ...]
    family: str
    value: str | None = None

    @cached_property
    def finals(self) -> np.ndarray:
        """The last value of each trajectory, shape (rates, starts); infinite where it diverged."""
        return np.array(
            [[math.inf if t.diverged_at else float(t.values[-1]) for t in row] for row in self.trajectories]
        )

    def __repr__(self) -> str:
        return (
            f"Entry({self.spec.label!r}, {count(self.finals.shape[0], 'rate')}, {count(self.finals.shape[1], 'start')})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class SearchRecord:
    """Everything that was tried on one function.

    Attributes:
        name, surface: the function.
        rates: the learning rates, rising.
        starts: the starting points, the function's own first.
        steps: how long each trajectory is.
        seed: what the further starts come from.
        entries: the optimizers with their trajectories.
        swept: the hyperparameter of which several values were tried; None if there is none.
        values: those values as texts.
    """

    name: str
    surface: Surface
    rates: tuple[float, ...]
    starts: tuple[tuple[float, float], ...]
    steps: int
    seed: int
    entries: tuple[Entry, ...]
    swept: str | None = None
    values: tuple[str, ...] = ()

    def __repr__(self) -> str:
        labels = ", ".join(entry.spec.label for entry in self.entries)
        return (
            f"SearchRecord({self.name}: {labels}; {count(len(self.rates), 'rate')}, {count(len(self.starts), 'start')})"
        )

    @cached_property
    def lowest(self) -> float:
        """What is taken off all values before logarithms: the value at the minimum, if that is known.

        Else 0 for a function that comes near it from above, and for others the lowest value that was seen.
        """
        if self.surface.minimum is not None:
            return float(self.surface.value(torch.tensor(self.surface.minimum, dtype=torch.float64)))
        values = grid(self.surface)[2]
        searched = (float(t.values.min()) for entry in self.entries for row in entry.trajectories for t in row)
        seen = min(float(values[np.isfinite(values)].min()), *searched)
        return 0.0 if 0 <= seen <= _NEAR * max(self._first) else seen

    @cached_property
    def floor(self) -> float:
        """Final values nearer to ``lowest`` than this are called equal: FLOOR of the highest start's."""
        return FLOOR * self.highest

    @cached_property
    def highest(self) -> float:
        """How far above ``lowest`` the highest start is; 1 if no start is above it."""
        return max(max(self._first) - self.lowest, 0.0) or 1.0

    @property
    def _first(self) -> list[float]:
        """The values at the starts."""
        return [float(trajectory.values[0]) for trajectory in self.entries[0].trajectories[0]]

    def excess(self, entry: Entry) -> np.ndarray:
        """How far above ``lowest`` each trajectory ended, shape (rates, starts)."""
        return np.maximum(entry.finals - self.lowest, 0.0)

    def best(self, entry: Entry) -> int:
        """The number of the best rate: the fewest diverged starts, then the least geometric mean of the final values.

        Rates that reach the floor from every start are told apart by the values below it, then the lower one is taken.
        """
        return min(range(len(self.rates)), key=lambda rate: self.score(entry, rate))

    def score(self, entry: Entry, rate: int) -> tuple[float, float, float]:
        """What rates, and optimizers at their rates, are ordered by: the less the better."""
        ends = self.excess(entry)[rate]
        finite = ends[np.isfinite(ends)]
        if not len(finite):
            return len(ends), math.inf, math.inf
        means = [float(np.log10(np.maximum(finite, floor)).mean()) for floor in (self.floor, 1e-300)]
        return len(ends) - len(finite), means[0], means[1]

    @property
    def ranked(self) -> list[Entry]:
        """The entries, the best at its best rate first."""
        return sorted(self.entries, key=lambda entry: self.score(entry, self.best(entry)))


def grid(surface: Surface, count: int = 401) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` places from left to right, as many from bottom to top, and the values, shape (count, count), there."""
    left, right, bottom, top = surface.window
    xs = torch.linspace(left, right, count, dtype=torch.float64)
    ys = torch.linspace(bottom, top, count, dtype=torch.float64)
    with torch.no_grad():
        values = surface.value(torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1))
    return xs.numpy(), ys.numpy(), values.numpy()
