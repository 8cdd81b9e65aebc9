"""Loss against step, one line for each optimizer, on a logarithmic scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ravine.report.style import Line, blank, line, tidy

_DRAWN = (1e-16, 1e100)  # a logarithm needs more than 0, and matplotlib room above
_LONGEST = 40  # characters of a name


@dataclass(frozen=True)
class Curve:
    """A training: the loss of every step from the first, which may end in a number that is not finite."""

    label: str
    losses: Sequence[float]
    reference: bool = False


def smoothed(losses: Sequence[float] | np.ndarray, window: int) -> np.ndarray:
    """The mean of the last ``window`` losses at every step (of fewer, as long as there are fewer)."""
    values = np.asarray(losses, dtype=np.float64)
    if window <= 1 or not len(values):
        return values
    # each window is summed afresh: one loss of 1e300 must not stay in a running sum
    padded = np.concatenate([np.zeros(window - 1), values])
    counts = np.minimum(np.arange(1, len(values) + 1), window)
    with np.errstate(invalid="ignore", over="ignore"):
        sums: np.ndarray = np.lib.stride_tricks.sliding_window_view(padded, window).sum(axis=1)
    return sums / counts


def draw(curves: Sequence[Curve], *, title: str, quantity: str, window: int = 1) -> Any:
    """A matplotlib figure of the curves.

    Args:
        curves: in the order they are named, best first.
        title: the line over the picture.
        quantity: what the losses are, for the vertical axis.
        window: each point is the mean of so many last steps; the axis says so if it is more than 1.
    """
    figure = blank(9.5, 5.6)
    axes = figure.add_subplot()
    looks = _looks(curves)
    ends = []
    for curve, look in zip(curves, looks, strict=True):
        values = smoothed(curve.losses, window)
        finite = np.isfinite(values)
        steps, values = np.arange(1, len(values) + 1)[finite], np.clip(values[finite], *_DRAWN)
        axes.plot(steps, values, **look.options())
        diverged = not finite.all()
        if diverged and len(steps):
            axes.plot(steps[-1:], values[-1:], "x", color=look.colour, markersize=8, zorder=6)
        label = f"{curve.label} (diverged at step {int(finite.sum()) + 1})" if diverged else curve.label
        ends.append((label, values[-1] if len(values) else math.nan, look))
    axes.set_yscale("log")
    _limit(axes, curves, window)
    axes.set_xlabel("step")
    axes.set_ylabel(quantity if window <= 1 else f"{quantity}, mean of the last {window} steps")
    axes.set_title(title, loc="left", parse_math=False)
    tidy(axes)
    name_lines(axes, ends)
    return figure


def _looks(curves: Sequence[Curve]) -> list[Line]:
    """References do not use up colours."""
    looks, used = [], 0
    for curve in curves:
        looks.append(line(used, curve.reference))
        used += not curve.reference
    return looks


def _limit(axes: Any, curves: Sequence[Curve], window: int) -> None:
    """Limits that a diverging curve cannot stretch: little above the highest start, down to the lowest value."""
    values = [np.clip(v[np.isfinite(v)], *_DRAWN) for v in (smoothed(c.losses, window) for c in curves)]
    values = [v for v in values if len(v)]
    if not values:
        return
    low, first = min(v.min() for v in values), max(v[0] for v in values)
    high = min(max(v.max() for v in values), 3 * first)
    axes.set_ylim(low / (high / low) ** 0.03 * 0.98, high * (high / low) ** 0.03 * 1.02)
    longest = max(len(c.losses) for c in curves)
    axes.set_xlim(1 if longest > 1 else 0, max(longest, 2))


def name_lines(axes: Any, ends: Sequence[tuple[str, float, Line]]) -> None:
    """Name every line at its right end, spread so that names do not overlap, with a sample of the line.

    ``ends`` has the label, the last value (NaN where there is none) and the look of each. The axes' limits and
    scale must be set. Done in shares of the axes' height, 0 at the bottom, because the scale may be logarithmic.
    """
    wanted = [
        0.0 if math.isnan(value) else min(max(axes.transLimits.transform(_scaled(axes, value))[1], 0.0), 1.0)
        for _, value, _ in ends
    ]
    gap = min(0.055, 1.0 / max(len(ends), 1))
    places = spread(wanted, gap)
    for (label, _, look), end, place in zip(ends, wanted, places, strict=True):
        options = {**look.options(), "transform": axes.transAxes, "clip_on": False}
        axes.plot([1.0, 1.025], [end, place], **{**options, "linestyle": "-", "linewidth": 0.6})
        axes.plot([1.025, 1.075], [place, place], **options)
        size = 9 * min(1.0, gap / 0.04)  # at the picture's height a line of 9 points needs 0.04 of it
        axes.text(
            1.085, place, shortened(label), transform=axes.transAxes, va="center", fontsize=size, parse_math=False
        )


def _scaled(axes: Any, value: float) -> Any:
    return axes.transScale.transform((axes.get_xlim()[0], value))


def shortened(label: str) -> str:
    """A name that leaves room for the picture: the middle of a long one is left out."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 13]}…{label[-12:]}"


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places between 0 and 1 near the wanted ones, in their order, at least ``gap`` apart where there is room.

    Neighbours that are too near become one block around their middle; blocks that touch are joined.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], -i))
    blocks: list[list[int]] = []
    centres: list[float] = []
    for index in order:
        blocks.append([index])
        centres.append(wanted[index])
        while True:
            half = gap * (len(blocks[-1]) - 1) / 2
            centres[-1] = min(max(centres[-1], half), max(1 - half, half))
            if len(blocks) == 1:
                break
            below = gap * (len(blocks[-2]) - 1) / 2
            if centres[-1] - half - (centres[-2] + below) >= gap * (1 - 1e-9):
                break
            top = blocks.pop()
            blocks[-1] += top
            centres.pop()
            centres[-1] = sum(wanted[i] for i in blocks[-1]) / len(blocks[-1])
    places = [0.0] * len(wanted)
    for block, centre in zip(blocks, centres, strict=True):
        for position, index in enumerate(block):
            places[index] = centre + gap * (position - (len(block) - 1) / 2)
    return places
