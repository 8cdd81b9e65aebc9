"""The trajectories of one optimizer on a function of two variables, for every learning rate and starting point.

All are followed at once: values and gradients of all points come from one call of the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ravine._whole_numbers import count
from ravine.errors import OptionError
from ravine.optim._spec import FAILURES, OptimizerSpec
from ravine.tasks import Surface
from ravine.tasks._starts import evaluate

DECADES = 4
"""The widest range of learning rates: with more, one that happens to fit is found for anything."""

FARTHEST = 1e6
"""A trajectory that is so many windows away has diverged, though its numbers may still be finite."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The points, shape (steps + 1, 2), and the function's values there, shape (steps + 1), of one search.

    A diverged trajectory ends before the step whose number, from 1, is ``diverged_at``: there its value or gradient
    is not finite, or it is too far away.
    """

    points: np.ndarray
    values: np.ndarray
    diverged_at: int | None = None

    def __repr__(self) -> str:
        end = f"diverged at step {self.diverged_at}" if self.diverged_at else f"ends at {self.values[-1]:.4g}"
        return f"Trajectory({count(len(self.points) - 1, 'step')}, {end})"


def learning_rates(lowest: float, highest: float, count: int) -> tuple[float, ...]:
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
    rates: tuple[float, ...] = ()
    for digits in (3, 6, 17):  # what is shown is then what was used
        rates = tuple(float(f"{rate:.{digits}g}") for rate in exact)
        if len(set(rates)) == count:
            break
    return rates


def dry_run(spec: OptimizerSpec, surface: Surface, rates: Sequence[float]) -> None:
    """A step at the ends of the range, thrown away: compiles what is compiled once, and finds a wrong option.

    Raises:
        OptionError: the optimizer cannot be made, or cannot take a plain step.
    """
    follow(spec, surface, (rates[0], rates[-1]), (surface.start,), 1)


def follow(
    spec: OptimizerSpec,
    surface: Surface,
    rates: Sequence[float],
    starts: Sequence[tuple[float, float]],
    steps: int,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[tuple[Trajectory, ...], ...]:
    """The trajectories of one optimizer by rate and start; ``on_step`` is called after each step of all of them.

    Each has an optimizer of its own: some formulas look at all parameters together, and none may see another
    trajectory.

    Raises:
        OptionError: the optimizer's step fails.
        TrainingError: the function fails.
    """
    points = torch.tensor([*starts], dtype=torch.float64).repeat(len(rates), 1)
    grads = torch.zeros_like(points)
    optimizers = []
    for index, (point, grad) in enumerate(zip(points, grads, strict=True)):
        parameter = nn.Parameter(point)  # a view: the step writes into `points`
        parameter.grad = grad
        optimizers.append(spec.at({"lr": rates[index // len(starts)]}).build([parameter]))
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
                points[index] = torch.tensor(starts[0])  # somewhere harmless
        if step == steps:
            break
        grads.copy_(torch.from_numpy(slopes))
        try:
            for index, optimizer in enumerate(optimizers):
                if index not in ended:
                    optimizer.step()
        except FAILURES as error:
            raise OptionError(f"{spec.label}: its step fails: {spec.error_text(error)}") from error
        on_step()
    trajectories = []
    for index in range(len(points)):
        end = ended.get(index)
        stop = steps + 1 if end is None else end
        trajectories.append(Trajectory(seen[:stop, index].copy(), values[:stop, index].copy(), end))
    each = len(starts)
    return tuple(tuple(trajectories[first : first + each]) for first in range(0, len(trajectories), each))
