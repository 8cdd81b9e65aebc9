"""What the pictures of a comparison share: the style of each optimizer, and axes that a diverging run cannot stretch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ravine._plotting.html import strong
from ravine._plotting.style import Line, line, plain_ticks
from ravine.comparison._judge.number_text import number

_BOWTIE = ((-1.0, -0.8), (1.0, 0.8), (1.0, -0.8), (-1.0, 0.8), (-1.0, -0.8))
_HOURGLASS = tuple((y, x) for x, y in _BOWTIE)
#: What plotly calls a mark, what matplotlib does, and how much larger it is drawn, where it has less of a surface.
#: None of them is a cross: that marks what diverged or missed.
_MARKS: tuple[tuple[str, Any, float], ...] = (
    ("circle", "o", 1.0),
    ("square", "s", 1.0),
    ("diamond", "D", 1.0),
    ("triangle-up", "^", 1.15),
    ("bowtie", _BOWTIE, 1.3),
    ("triangle-down", "v", 1.15),
    ("star", "*", 1.6),
    ("hourglass", _HOURGLASS, 1.3),
    ("triangle-left", "<", 1.15),
)
_LEAST = 1e-16  # a logarithm needs more than 0
_NOTE = 125  # characters of a line of notes
_HALF_A_MARK = 0.014  # of the width of the axes


@dataclass(frozen=True)
class MarkerStyle:
    """How an optimizer is drawn everywhere: its line, and its mark, so that it is known in grey too.

    ``symbol`` and ``marker`` are the same mark, on a page and in a picture.
    """

    line: Line
    symbol: str
    marker: Any
    larger: float = 1.0

    def marks(self, size: float = 6.0) -> dict[str, Any]:
        """Marks without a line, as keyword arguments of matplotlib's ``plot``."""
        return {
            "marker": self.marker,
            "markersize": size * self.larger,
            "color": self.line.colour,
            "linestyle": "",
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
            "zorder": self.line.order,
        }


def marker_styles(labels: Sequence[str]) -> dict[str, MarkerStyle]:
    """The style of each optimizer by its place."""
    return {label: marker_style(index) for index, label in enumerate(labels)}


def marker_style(index: int) -> MarkerStyle:
    """The style of the optimizer at that place in the spec, on the page and in all pictures of a study."""
    style = line(index, False)
    return MarkerStyle(replace(style, colour=strong(style.colour)), *_MARKS[index % len(_MARKS)])


def drawn(values: Iterable[float] | np.ndarray) -> np.ndarray:
    """Losses as they can be drawn: what is not finite leaves a gap."""
    losses = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(losses), losses, np.nan)


def brief(value: float, digits: int = 3) -> str:
    """A number for a label: with a power of ten where its zeros would fill the picture."""
    return number(value, digits) if not value or 1e-5 <= abs(value) < 1e7 else f"{value:.{digits}g}"


def loss_axis(axes: Any, values: Iterable[float], most: float = math.inf, *, logarithmic: bool = True) -> None:
    """Scale and limits for these losses: logarithmic if it may be and none is negative, with ticks that are plain numbers."""
    from matplotlib.ticker import NullFormatter

    losses = np.array([v for v in values if math.isfinite(v)])
    if not len(losses):
        losses = np.array([0.1, 1.0])
    low, high = float(losses.min()), float(losses.max())
    high = max(low, min(high, most))
    if low < 0 or not logarithmic:
        room = 0.04 * (high - low) or 0.1 * abs(low) or 0.1
        axes.set_ylim(low - room, high + room)
        return
    low, high = max(low, _LEAST), max(high, _LEAST)
    if high < low * 1.02:  # equal losses
        low, high = low / 1.05, high * 1.05
    room = (high / low) ** 0.04
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(low / room, high * room)
    plain_ticks(axes)
    axes.yaxis.set_minor_formatter(NullFormatter())


def points_axis(axes: Any, points: Sequence[int]) -> None:
    """The numbers of points that tunings tried, in rising order, on a logarithmic axis with room for whole marks at its ends."""
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xscale("log", base=2)
    # the last number is all the points: its neighbour below may be too near to be named
    named = [k for k, after in zip(points, [*points[1:], math.inf], strict=True) if after / k > 1.25]
    axes.set_xticks(named, [f"{k:,}" for k in named])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = points[0], max(points[-1], 2)
    room = (high / low) ** _HALF_A_MARK
    axes.set_xlim(low / room, high * room)
    axes.set_xlabel("points tried per tuning")


def head(figure: Any, title: str, note: str = "") -> None:
    """The title above the picture, and a sentence or two below it."""
    text = "\n".join(part for line in (title, note) for part in textwrap.wrap(line, _NOTE))
    figure.suptitle(text, x=0.01, ha="left", fontsize=9.5, color="0.2", parse_math=False)
