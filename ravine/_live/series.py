"""Long series of numbers made short enough to draw, so that neither spikes nor gaps are lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from ravine._plotting.curve_lines import smoothed
from ravine._plotting.html import numbers

MOST = 600
"""Points of a line: more than a window has room for is not seen."""


def thinned_losses(losses: np.ndarray, most: int = MOST) -> dict[str, Any]:
    """The losses of all steps in at most ``most`` places.

    Returns:
        ``x``, the last step of each place from 1; ``low`` and ``high``, the least and the greatest finite loss of its steps;
        ``mean``, the mean of the last fiftieth of the run there, as the picture of a training has it; ``lost``, the first step
        whose loss is not finite. Where there is no number it is None.
    """
    steps = len(losses)
    if not steps:
        return {"x": [], "low": [], "high": [], "mean": [], "lost": None}
    starts = np.arange(0, steps, -(-steps // most))
    ends = np.append(starts[1:], steps)
    finite = np.isfinite(losses)
    low = np.minimum.reduceat(np.where(finite, losses, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, losses, -np.inf), starts)
    lost = np.flatnonzero(~finite)
    return {
        "x": ends.tolist(),
        "low": numbers(low),
        "high": numbers(high),
        "mean": numbers(smoothed(losses, max(1, steps // 50))[ends - 1]),
        "lost": int(lost[0]) + 1 if len(lost) else None,
    }


def changes_drawn(changes: list[tuple[int, float]], steps: int, most: int = MOST) -> dict[str, Any]:
    """The values of a number that is known by its changes, as corners of a line with steps.

    Args:
        changes: from which step on, counted from 0, it had which value.
        steps: how many steps there are; the last value holds to the last of them.
        most: how many corners there may be.

    Returns:
        ``x``, steps from 1, and ``y``.
    """
    known = [(step, value) for step, value in changes if step < steps]
    every = -(-len(known) // most) if known else 1
    kept = known[::every]
    if not kept:
        return {"x": [], "y": []}
    return {"x": [*(step + 1 for step, _ in kept), steps], "y": numbers([*(value for _, value in kept), known[-1][1]])}
