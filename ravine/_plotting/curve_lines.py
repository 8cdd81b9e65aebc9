"""What pictures of several lines share: smoothing, and names at the ends of the lines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ravine._fallback_characters import visible
from ravine._plotting.style import Line

_LONGEST = 40  # characters of a name


def smoothed(losses: Sequence[float] | np.ndarray, window: int) -> np.ndarray:
    """The mean of the last ``window`` losses at every step; at first of the last quarter of them.

    A window that filled up would hold the high first losses, and drop them all at once.
    """
    values = np.asarray(losses, dtype=np.float64)
    if window <= 1 or not len(values):
        return values
    ends = np.arange(1, len(values) + 1)
    counts = np.minimum(np.maximum(ends // 4, 1), window)
    # each window is summed afresh: one loss of 1e300 must not stay in a running sum
    edges = np.column_stack([ends - counts, ends]).ravel()
    with np.errstate(invalid="ignore", over="ignore"):
        sums: np.ndarray = np.add.reduceat(np.append(values, 0.0), edges)[::2]
    return sums / counts


def name_lines(axes: Any, ends: Sequence[tuple[str, float, Line]], said: Mapping[str, str] | None = None) -> None:
    """Name every line at its right end, spread so that names do not overlap, with a sample of the line.

    ``ends`` has the label, the last value (NaN where there is none) and the look of each, ``said`` what stands after a label
    in brackets. The axes' limits and scale must be set. Done in shares of the axes' height, 0 at the bottom, because the
    scale may be logarithmic.
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
        more = said.get(label, "") if said else ""
        text = f"{shortened(label, _LONGEST - 12)} ({more})" if more else shortened(label)
        axes.text(1.085, place, text, transform=axes.transAxes, va="center", fontsize=size, parse_math=False)


def _scaled(axes: Any, value: float) -> Any:
    return axes.transScale.transform((axes.get_xlim()[0], value))


def shortened(label: str, longest: int = _LONGEST) -> str:
    """A name in one line that leaves room for the picture: the middle of a long one is left out."""
    label = visible(label)
    return label if len(label) <= longest else f"{label[: longest - 13]}…{label[-12:]}"


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
