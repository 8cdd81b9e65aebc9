"""The paths of optimizers over the contour lines of a function of two variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ravine.report.style import line

_FAR = 1e3  # windows; matplotlib draws badly what lies further out
_REFERENCE_POINTS = 60


@dataclass(frozen=True)
class Path:
    """The points an optimizer was at, shape (steps + 1, 2), from the start to the end."""

    label: str
    points: Sequence[tuple[float, float]]
    reference: bool = False


@dataclass(frozen=True)
class Map:
    """A function on a grid: ``values`` has shape (len(ys), len(xs)); all of them are at least 0."""

    xs: np.ndarray
    ys: np.ndarray
    values: np.ndarray
    start: tuple[float, float]
    minimum: tuple[float, float]


def draw(surface: Map, paths: Sequence[Path], *, title: str) -> Any:
    """A matplotlib figure; its limits are those of the grid, however far a path leads away from it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = np.maximum(surface.values, 1e-300)
    axes.contourf(
        surface.xs, surface.ys, np.log10(values), levels=_levels(values), cmap="Greys", alpha=0.25, extend="both"
    )
    axes.contour(
        surface.xs, surface.ys, np.log10(values), levels=_levels(values), colors="0.6", linewidths=0.5, linestyles="-"
    )
    used = 0
    for path in paths:
        look = line(used, path.reference)
        used += not path.reference
        points = _near(np.asarray(path.points, dtype=np.float64).reshape(-1, 2), surface)
        if path.reference:
            # single points: dots along a path that goes to and fro would merge and hide every other one
            every = max(1, len(points) // _REFERENCE_POINTS)
            axes.plot(*points[::every].T, ".", color=look.colour, markersize=3.5, zorder=look.order, label=path.label)
            continue
        axes.plot(*points.T, label=path.label, **{**look.options(), "linewidth": 0.75 * look.width})
        axes.plot(*points[-1:].T, "o", color=look.colour, markersize=5, markeredgecolor="white", zorder=6)
    axes.plot(*surface.start, "s", color="black", markersize=7, markeredgecolor="white", zorder=7, label="start")
    axes.plot(*surface.minimum, "*", color="gold", markersize=16, markeredgecolor="black", zorder=7, label="minimum")
    axes.set_xlim(surface.xs[0], surface.xs[-1])
    axes.set_ylim(surface.ys[0], surface.ys[-1])
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.set_title(title, loc="left")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9, handlelength=3.2)
    return figure


def _levels(values: np.ndarray) -> np.ndarray:
    """Powers of ten and halves between, as logarithms: from near the minimum to the highest value."""
    highest = np.ceil(np.log10(values.max()) * 2) / 2
    # the grid hardly ever meets the minimum itself; four decades show the valley's floor
    lowest = max(np.floor(np.log10(values.min()) * 2) / 2, highest - 5)
    return np.arange(lowest, highest + 0.25, 0.5)


def _near(points: np.ndarray, surface: Map) -> np.ndarray:
    """The points up to the first that is not finite or far outside the picture."""
    size = max(np.ptp(surface.xs), np.ptp(surface.ys))
    with np.errstate(invalid="ignore"):
        far = ~(np.abs(points) < _FAR * size).all(axis=1)
    return points[: int(far.argmax())] if far.any() else points
