"""Contour lines of a function of two variables, with trajectories over them.

A picture has edges, a trajectory may not keep to them: where it crosses one, an arrow shows it, and the legend has
the number of steps that ended outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ravine._plotting.style import Line, line
from ravine.contour._plot_data import SurfaceGrid

_FAR = 1e3  # windows; matplotlib draws badly what lies further out
_REFERENCE_POINTS = 60
_APART = 0.03  # of the window: arrows that are nearer to each other are one


@dataclass(frozen=True, eq=False)
class NamedTrajectory:
    """The points an optimizer was at, shape (steps + 1, 2), from the start to the end, and its name in the legend.

    ``diverged_at`` is the number of the step that led to no point any more. ``others`` are trajectories of the same
    optimizer from other starts, drawn thin and without a name.
    """

    label: str
    points: Sequence[tuple[float, float]] | np.ndarray
    reference: bool = False
    diverged_at: int | None = None
    others: Sequence[NamedTrajectory] = ()


def panel(axes: Any, surface: SurfaceGrid, trajectories: Sequence[NamedTrajectory]) -> None:
    """Contour lines, trajectories, starts and minimum in these axes, with labels for a legend."""
    values = np.maximum(surface.values, 1e-300)
    logs = np.ma.masked_invalid(np.log10(values))  # a function need not have a value everywhere
    levels = _levels(values[np.isfinite(values)])
    axes.contourf(surface.xs, surface.ys, logs, levels=levels, cmap="Greys", alpha=0.25, extend="both")
    axes.contour(surface.xs, surface.ys, logs, levels=levels, colors="0.6", linewidths=0.5, linestyles="-")
    used = 0
    for trajectory in trajectories:
        style = line(used, trajectory.reference)
        used += not trajectory.reference
        for other in trajectory.others:
            axes.plot(*_near(other, surface).T, color=style.colour, linewidth=0.6, alpha=0.45, zorder=2)
            _mark_ends(axes, surface, other, style, 5)
        points = _near(trajectory, surface)
        label = _label(trajectory, surface)
        if trajectory.reference:
            # single points: dots along a trajectory that goes to and fro would merge and hide every other one
            every = max(1, len(points) // _REFERENCE_POINTS)
            axes.plot(*points[::every].T, ".", color=style.colour, markersize=3.5, zorder=style.order, label=label)
        else:
            axes.plot(*points.T, label=label, **{**style.options(), "linewidth": 0.75 * style.width})
        _mark_ends(axes, surface, trajectory, style, 7)
    if surface.starts:
        axes.plot(*np.array(surface.starts).T, "s", color="0.35", markersize=4, markeredgecolor="white", zorder=7)
    axes.plot(*surface.start, "s", color="black", markersize=7, markeredgecolor="white", zorder=7, label="start")
    if surface.minimum is not None:
        star = {"color": "gold", "markersize": 16, "markeredgecolor": "black", "label": "minimum"}
        axes.plot(*surface.minimum, "*", zorder=7, **star)
    left, right, bottom, top = surface.window
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("x")
    axes.set_ylabel("y")


def exits(points: np.ndarray, window: tuple[float, float, float, float]) -> list[tuple[float, float, str, int]]:
    """Where a trajectory leaves the window: x and y on its edge, the edge as ``"<"``, ``">"``, ``"v"`` or ``"^"``, the step.

    Of places on one edge that nearly coincide, only the first counts.
    """
    left, right, bottom, top = window
    sides = (("<", 0, left, -1), (">", 0, right, 1), ("v", 1, bottom, -1), ("^", 1, top, 1))
    size = (right - left, top - bottom)
    left_at: list[tuple[float, float, str, int]] = []
    out = outside(points, window)
    for before in np.flatnonzero(~out[:-1] & out[1:]):
        a, b = points[before], points[before + 1]
        # the edge that is met first of those that lie between the two points
        crossed = [((edge - a[k]) / (b[k] - a[k]), side, k) for side, k, edge, way in sides if way * (b[k] - edge) > 0]
        fraction, side, axis = min(crossed)
        place = a + fraction * (b - a)
        along = 1 - axis
        if all(p[2] != side or abs(place[along] - p[:2][along]) > _APART * size[along] for p in left_at):
            left_at.append((float(place[0]), float(place[1]), side, int(before) + 1))
    return left_at


def outside(points: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """Of each point, whether it lies outside the window."""
    left, right, bottom, top = window
    x, y = points.T
    return ~((left <= x) & (x <= right) & (bottom <= y) & (y <= top))


def _label(trajectory: NamedTrajectory, surface: SurfaceGrid) -> str:
    """The name, and what the picture alone does not tell."""
    steps, out = 0, 0
    for each in (trajectory, *trajectory.others):
        points = np.asarray(each.points, dtype=np.float64).reshape(-1, 2)
        steps, out = steps + len(points) - 1, out + int(outside(points[1:], surface.window).sum())
    facts = [f"{out} of {steps} steps outside"] if out else []
    facts += [f"diverged at step {trajectory.diverged_at}"] if trajectory.diverged_at else []
    if lost := sum(bool(other.diverged_at) for other in trajectory.others):
        facts.append(f"{lost} of {len(trajectory.others)} other starts diverged")
    return trajectory.label + "".join(f"\n{fact}" for fact in facts)


def _mark_ends(axes: Any, surface: SurfaceGrid, trajectory: NamedTrajectory, style: Line, size: float) -> None:
    """Arrows where it leaves, and at its end a dot, or a cross if it diverged."""
    points = _near(trajectory, surface)
    above = {"color": style.colour, "clip_on": False, "zorder": 8, "linestyle": ""}
    for x, y, side, _ in exits(points, surface.window):
        axes.plot(x, y, side, markersize=size, markeredgecolor="white", markeredgewidth=size / 10, **above)
    if not len(points) or outside(points[-1:], surface.window)[0]:
        return
    if trajectory.diverged_at:
        axes.plot(*points[-1], "x", markersize=size, **above)
    elif not trajectory.reference:
        axes.plot(*points[-1], "o", color=style.colour, markersize=0.7 * size, markeredgecolor="white", zorder=6)


def _levels(values: np.ndarray) -> np.ndarray:
    """Powers of ten and halves between, as logarithms: from near the minimum to the highest value."""
    highest = np.ceil(np.log10(values.max()) * 2) / 2
    # the grid hardly ever meets the minimum itself; four decades show the valley's floor
    lowest = max(np.floor(np.log10(values.min()) * 2) / 2, highest - 5)
    return np.arange(lowest, highest + 0.25, 0.5)


def _near(trajectory: NamedTrajectory, surface: SurfaceGrid) -> np.ndarray:
    """The points up to the first that is not finite or far outside the picture."""
    points = np.asarray(trajectory.points, dtype=np.float64).reshape(-1, 2)
    size = max(np.ptp(surface.xs), np.ptp(surface.ys))
    middle = np.array([surface.xs.mean(), surface.ys.mean()])
    with np.errstate(invalid="ignore"):
        far = ~(np.abs(points - middle) < _FAR * size).all(axis=1)
    if not far.any():
        return points
    return np.concatenate([points[: int(far.argmax())], _last_sight(points, int(far.argmax()), middle, size)])


def _last_sight(points: np.ndarray, first: int, middle: np.ndarray, size: float) -> np.ndarray:
    """A point in the direction in which a trajectory went far away at once, so that it is still seen to leave."""
    if not first or not np.isfinite(points[first]).all():
        return points[:0]
    way = points[first] - points[first - 1]
    return (points[first - 1] + way / np.abs(way).max() * 0.5 * _FAR * size)[None]
