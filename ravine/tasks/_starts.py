"""Starting points of searches on a function of two variables."""

import math

import numpy as np
import torch
from torch import Tensor

from ravine.errors import OptionError, TrainingError
from ravine.tasks._task import Surface

_ATTEMPTS = 4096  # points that are drawn at most


def starts(surface: Surface, count: int, seed: int) -> tuple[tuple[float, float], ...]:
    """The function's own start, and others spread over its window (Sobol's points, scrambled by ``seed``).

    Raises:
        OptionError: too few points have a finite value and gradient.
    """
    left, right, bottom, top = surface.window
    drawn = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(_ATTEMPTS, dtype=torch.float64)
    corner = torch.tensor([left, bottom], dtype=torch.float64)
    size = torch.tensor([right - left, top - bottom], dtype=torch.float64)
    points = torch.cat([torch.tensor([surface.start], dtype=torch.float64), corner + size * drawn])
    values, slopes = evaluate(surface, points)
    usable = points[np.isfinite(values) & np.isfinite(slopes).all(axis=1)][:count]
    if len(usable) < count:
        raise OptionError(
            f"Of {_ATTEMPTS} points in the window only {len(usable)} have a finite value and gradient, and {count} are needed."
        )
    points_in_order = [(x, y) for x, y in usable.tolist()]
    # 4 digits of the window, so that the numbers shown are those used; the user's own start is not rounded
    rounded = [(_rounded(x, right - left), _rounded(y, top - bottom)) for x, y in points_in_order[1:]]
    return (points_in_order[0], *rounded)


def _rounded(number: float, size: float) -> float:
    return round(number, 3 - math.floor(math.log10(size)))


def evaluate(surface: Surface, points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradients at all points; an error of the user's function is reported with the points."""
    leaf = points.detach().clone().requires_grad_()
    try:
        value = surface.value(leaf)
        (slopes,) = torch.autograd.grad(value.sum(), leaf)
    except Exception as error:  # whatever the user's function raises
        raise TrainingError(
            f"The function fails on points from {points.min(0).values.tolist()} to {points.max(0).values.tolist()}: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    return value.detach().numpy(), slopes.numpy()
