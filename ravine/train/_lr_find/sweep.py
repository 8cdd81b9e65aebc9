"""One sweep of the learning rate: the grid of rates, a step at each, and the rule that ends it.

Knows no model: what trains is a function from a rate to a loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np

from ravine._whole_numbers import whole
from ravine.errors import OptionError
from ravine.train._lr_find.lr_rules import LEAST, RECENT


def rates(start: float = 1e-7, end: float = 10.0, steps: int = 100) -> np.ndarray:
    """``steps`` learning rates from ``start`` to ``end``, each the same multiple of the one before.

    Raises:
        OptionError: a start that is not above 0, an end not above the start, or fewer than 10 steps.
    """
    for name, value in (("start", start), ("end", end)):
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < math.inf:
            raise OptionError(f"{name} {value!r}: a learning rate to try is a finite number above 0.")
    if not end > start:
        raise OptionError(f"end {end!r} is not above start {start!r}: rates are tried from low to high.")
    number = whole(steps)
    if number is None or number < LEAST:
        raise OptionError(f"steps {steps!r}: at least {LEAST} rates are needed to see the shape of the curve.")
    grid = np.geomspace(start, end, number)
    if not (np.diff(grid) > 0).all():
        raise OptionError(f"start {start!r} and end {end!r} are too near for {steps} different rates between them.")
    return grid


def sweep(step: Callable[[float], float], rates: Sequence[float] | np.ndarray) -> np.ndarray:
    """The losses that ``step(rate)`` returns, each from before its update, shape (steps,); NaN after divergence.

    A sweep ends at a loss that is not finite, or when the median of the last 5 losses lies above the median of
    the first 5 by more than 3 times the largest of: how far that median had fallen before, twice the median
    difference of two successive losses, and a tenth of the first median's size. It does not depend on the losses
    being positive, and one or two bad batches do not end it.

    ``step`` is not called again after the sweep has ended. It may return NaN or infinity.
    """
    grid = np.asarray(rates, dtype=np.float64)
    losses = np.full(len(grid), np.nan)
    lowest = math.inf
    for i, rate in enumerate(grid):
        loss = float(step(float(rate)))
        if not math.isfinite(loss):
            break
        losses[i] = loss
        if i + 1 < RECENT:
            continue
        with np.errstate(over="ignore"):
            first, recent = np.median(losses[:RECENT]), np.median(losses[i + 1 - RECENT : i + 1])
            lowest = min(lowest, recent)
            usual = np.median(np.abs(np.diff(losses[: i + 1])))
            if recent > first + 3 * max(first - lowest, 2 * usual, abs(first) / 10):
                break
    return losses
