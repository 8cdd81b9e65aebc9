"""The paths of optimizers on a function of two variables, at every one of several learning rates and starts.

A picture of one path is easily tuned to please. So all optimizers get the same rates, evenly spaced in the logarithm,
the same starts and the same number of steps, everything that was tried is kept, and one rule chooses the best rate.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from ravine.errors import OptionError
from ravine.optim._spec import FAILURES, OptimizerSpec
from ravine.tasks import Surface
from ravine.tasks._starts import evaluate

DECADES = 4
"""The widest range of learning rates: with more, one that happens to fit is found for anything."""

FLOOR = 1e-10
"""Of the highest value at a start: a final value below this share of it counts as this share."""

FARTHEST = 1e6
"""A path that is so many windows away has diverged, though its numbers may still be finite."""

_NEAR = 0.01  # of the value at the highest start: a function that falls below this is taken to end at 0


@dataclass(frozen=True)
class Path:
    """The points, shape (steps + 1, 2), and the values there, shape (steps + 1), of one search.

    A diverged path ends before the step whose number, from 1, is ``diverged_at``: there its value or gradient is
    not finite, or it is too far away.
    """

    points: np.ndarray
    values: np.ndarray
    diverged_at: int | None = None


@dataclass(frozen=True)
class Walk:
    """All searches of one optimizer: ``paths`` by rate and then by start.

    ``family`` and ``value`` are given for one of several values of a swept hyperparameter: the optimizer's label
    without it, and the value as text.
    """

    contender: OptimizerSpec
    paths: tuple[tuple[Path, ...], ...]
    family: str
    value: str | None = None

    @cached_property
    def finals(self) -> np.ndarray:
        """The last value of each path, shape (rates, starts); infinite where it diverged."""
        return np.array([[math.inf if p.diverged_at else float(p.values[-1]) for p in row] for row in self.paths])


@dataclass(frozen=True)
class Study:
    """Everything that was tried on one function."""

    name: str
    surface: Surface
    rates: tuple[float, ...]
    starts: tuple[tuple[float, float], ...]
    steps: int
    seed: int
    walks: tuple[Walk, ...]

    @cached_property
    def lowest(self) -> float:
        """What is taken off all values before logarithms: the value at the minimum, if that is known.

        Else 0 for a function that comes near it from above, and for others the lowest value that was seen.
        """
        if self.surface.minimum is not None:
            return float(self.surface.value(torch.tensor(self.surface.minimum, dtype=torch.float64)))
        values = grid(self.surface)[2]
        searched = (float(p.values.min()) for walk in self.walks for row in walk.paths for p in row)
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
        return [float(path.values[0]) for path in self.walks[0].paths[0]]

    def excess(self, walk: Walk) -> np.ndarray:
        """How far above ``lowest`` each path ended, shape (rates, starts)."""
        return np.maximum(walk.finals - self.lowest, 0.0)

    def best(self, walk: Walk) -> int:
        """The number of the best rate: the fewest diverged starts, then the least geometric mean of the final values.

        Rates that reach the floor from every start are told apart by the values below it, then the lower one is taken.
        """
        return min(range(len(self.rates)), key=lambda rate: self.score(walk, rate))

    def score(self, walk: Walk, rate: int) -> tuple[float, float, float]:
        """What rates, and optimizers at their rates, are ordered by: the less the better."""
        ends = self.excess(walk)[rate]
        finite = ends[np.isfinite(ends)]
        if not len(finite):
            return len(ends), math.inf, math.inf
        means = [float(np.log10(np.maximum(finite, floor)).mean()) for floor in (self.floor, 1e-300)]
        return len(ends) - len(finite), means[0], means[1]


def grid(surface: Surface, count: int = 401) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` places from left to right, as many from bottom to top, and the values, shape (count, count), there."""
    left, right, bottom, top = surface.window
    xs = torch.linspace(left, right, count, dtype=torch.float64)
    ys = torch.linspace(bottom, top, count, dtype=torch.float64)
    with torch.no_grad():
        values = surface.value(torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1))
    return xs.numpy(), ys.numpy(), values.numpy()


def rates(lowest: float, highest: float, count: int) -> tuple[float, ...]:
    """``count`` learning rates from ``lowest`` to ``highest``, evenly spaced in the logarithm, in few digits.

    Raises:
        OptionError: they are no positive numbers in this order, or more than :data:`DECADES` decades apart.
    """
    for name, value in (("lowest", lowest), ("highest", highest)):
        if not (math.isfinite(value) and value > 0):
            raise OptionError(f"The {name} rate is {value:g}; a learning rate is a finite number above 0.")
    if not lowest < highest:
        raise OptionError(f"The lowest rate, {lowest:g}, must be below the highest, {highest:g}.")
    if highest / lowest > 10**DECADES * (1 + 1e-9):
        raise OptionError(
            f"From {lowest:g} to {highest:g} are more than {DECADES} decades, the widest range here: "
            "with more, a rate that happens to please is found for anything."
        )
    exact = np.geomspace(lowest, highest, count)
    found: tuple[float, ...] = ()
    for digits in (3, 6, 17):  # what is shown is then what was used
        found = tuple(float(f"{rate:.{digits}g}") for rate in exact)
        if len(set(found)) == count:
            break
    return found


def rehearse(contender: OptimizerSpec, surface: Surface, all_rates: Sequence[float]) -> None:
    """A step at the ends of the range, thrown away: compiles what is compiled once, and finds a wrong option.

    Raises:
        OptionError: the optimizer cannot be made, or cannot take a plain step.
    """
    walk(contender, surface, (all_rates[0], all_rates[-1]), (surface.start,), 1)


def walk(
    contender: OptimizerSpec,
    surface: Surface,
    all_rates: Sequence[float],
    all_starts: Sequence[tuple[float, float]],
    steps: int,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[tuple[Path, ...], ...]:
    """The paths of one optimizer by rate and start; ``on_step`` is called after each step of all of them.

    Values and gradients are computed for all paths at once, but each has an optimizer of its own: some formulas
    look at all parameters together, and none may see another path.
    """
    points = torch.tensor([*all_starts], dtype=torch.float64).repeat(len(all_rates), 1)
    grads = torch.zeros_like(points)
    optimizers = []
    for index, (point, grad) in enumerate(zip(points, grads, strict=True)):
        parameter = nn.Parameter(point)  # a view: the step writes into `points`
        parameter.grad = grad
        rate = all_rates[index // len(all_starts)]
        optimizers.append(contender.at({"lr": rate}).build([parameter]))
    limit = FARTHEST * max(surface.window[1] - surface.window[0], surface.window[3] - surface.window[2])
    seen = np.full((steps + 1, *points.shape), math.nan)
    values = np.full((steps + 1, len(points)), math.nan)
    ended: dict[int, int] = {}
    for step in range(steps + 1):
        seen[step] = points.numpy()
        values[step], slopes = evaluate(surface, points)
        with np.errstate(invalid="ignore"):
            there = np.isfinite(values[step]) & (np.abs(seen[step]) < limit).all(axis=1)
        onward = np.isfinite(slopes).all(axis=1)
        for index in range(len(points)):
            if index in ended:
                continue
            if not there[index]:
                ended[index] = step
            elif not onward[index] and step < steps:
                ended[index] = step + 1
            if index in ended:
                points[index] = torch.tensor(all_starts[0])  # somewhere harmless
        if step == steps:
            break
        grads.copy_(torch.from_numpy(slopes))
        try:
            for index, optimizer in enumerate(optimizers):
                if index not in ended:
                    optimizer.step()
        except FAILURES as error:
            raise OptionError(f"{contender.label}: its step fails: {contender.error_text(error)}") from error
        on_step()
    paths = []
    for index in range(len(points)):
        end = ended.get(index)
        stop = steps + 1 if end is None else end
        paths.append(Path(seen[:stop, index].copy(), values[:stop, index].copy(), end))
    each = len(all_starts)
    return tuple(tuple(paths[first : first + each]) for first in range(0, len(paths), each))
