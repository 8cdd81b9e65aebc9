"""The search paths as one page of HTML: everything that was tried, to be looked at by rate, start and step.

Trajectories are thinned by what nobody can see, and where that is not enough those at other than the best rates by a
little more; the page says by how much.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine._plotting.html import rendered, script_style
from ravine.contour._contour_figure import styles
from ravine.contour._contour_panel import exits, outside
from ravine.contour._plot_data import PlotData, PlotEntry
from ravine.contour._trajectories import Trajectory

_BUDGET = 1_100_000  # bytes of numbers: with plotly.js the page stays below 6 MB
_GRID = 101  # places along each edge; more are only drawn slower
_TOLERANCE = 1 / 1500  # of the window: less than half a pixel
_COARSEST = 1 / 100
_LOSSES = 400
_NOTHING = 65535  # the code of what is no number


def page(data: PlotData, budget: int = _BUDGET) -> bytes:
    """The page in UTF-8; trajectories are coarser where their numbers would take more bytes than ``budget``."""
    script = _script_data(data, budget)
    return rendered("contour.html", "contour/templates", shown=data, data=script, number=number)


def number(value: float) -> str:
    """A final value in three digits, or that there is none."""
    return f"{value:.3g}" if np.isfinite(value) else "diverged"


def _script_data(shown: PlotData, budget: int) -> dict[str, Any]:
    """What the page's script reads; numbers by the thousand are base64 of little-endian arrays."""
    losses = [t.values for entry in shown.entries for row in entry.trajectories for t in row]
    finite = np.concatenate([*losses, shown.surface.values[np.isfinite(shown.surface.values)]])
    least, most_seen = max(finite.min(), shown.least), max(finite.max(), 10 * shown.least)
    scale = (float(np.log10(least)), float(np.log10(most_seen)))
    every = max(1, (len(shown.surface.xs) - 1) // (_GRID - 1))
    data = {
        "rates": list(shown.rates),
        "starts": [list(start) for start in shown.starts],
        "steps": shown.steps,
        "swept": shown.swept,
        "values": list(shown.values),
        "window": shown.surface.window,
        "minimum": shown.surface.minimum,
        "quantity": shown.quantity,
        "xs": shown.surface.xs[::every].tolist(),
        "ys": shown.surface.ys[::every].tolist(),
        "heights": _coded(shown.surface.values[::every, ::every].ravel(), scale),
        "scale": scale,
        "range": shown.colours,
    }
    tolerance, most = _TOLERANCE, _LOSSES
    while True:
        entries = [
            _entry(shown, entry, style, scale, tolerance, most)
            for entry, style in zip(shown.entries, _family_styles(shown.entries), strict=True)
        ]
        if tolerance >= _COARSEST or len(json.dumps(entries)) <= budget:
            return {**data, "entries": entries, "moves": round(1 / tolerance)}
        tolerance, most = tolerance * 2, max(100, most // 2)


def _family_styles(entries: Sequence[PlotEntry]) -> list[dict[str, str]]:
    """A style for each entry; all values of a swept hyperparameter share one, since one is shown at a time."""
    families: dict[str, PlotEntry] = {}
    for entry in entries:
        families.setdefault(entry.family or entry.label, entry)
    lines = dict(zip(families, styles(list(families.values())), strict=True))
    return [script_style(lines[entry.family or entry.label]) for entry in entries]


def _entry(
    shown: PlotData, entry: PlotEntry, style: dict[str, str], scale: tuple[float, float], tolerance: float, most: int
) -> dict[str, Any]:
    finals = entry.finals.tolist()
    return {
        "label": entry.label,
        "value": entry.value,
        "reference": entry.reference,
        "best": entry.best,
        "end": shown.at_the_end(entry),
        **style,
        "finals": [[value if np.isfinite(value) else None for value in row] for row in finals],
        "trajectories": [
            # what is seen first stays fine, however much there is
            [
                _trajectory(shown, t, scale, *((_TOLERANCE, _LOSSES) if rate == entry.best else (tolerance, most)))
                for t in row
            ]
            for rate, row in enumerate(entry.trajectories)
        ],
    }


def _trajectory(
    shown: PlotData, trajectory: Trajectory, scale: tuple[float, float], tolerance: float, most: int
) -> dict[str, Any]:
    window, points, losses = shown.surface.window, trajectory.points, trajectory.values
    kept = thinned(points, window, tolerance)
    drawn = envelope(losses, most)
    packed = {
        "n": len(points) - 1,
        "s": _base64(kept.astype("<u2")),
        "p": _base64(points[kept].astype("<f4")),
        "l": _coded(losses[drawn], scale),
    }
    if len(drawn) < len(losses):
        packed["t"] = _base64(drawn.astype("<u2"))
    if trajectory.diverged_at:
        packed["d"] = trajectory.diverged_at
    if count := int(outside(points[1:], window).sum()):
        packed["o"] = count
        packed["e"] = [[step, round(x, 6), round(y, 6), side] for x, y, side, step in exits(points, window)]
    return packed


def thinned(points: np.ndarray, window: tuple[float, float, float, float], tolerance: float) -> np.ndarray:
    """The numbers of the points that are at least ``tolerance`` windows from the last such one.

    Also the first and the last, and those on both sides of the window's edge. Far from the window, where a picture
    must be of a larger part, the tolerance grows with the distance.
    """
    left, right, bottom, top = window
    place = (points - [(left + right) / 2, (bottom + top) / 2]) / [right - left, top - bottom]
    out = outside(points, window)
    crossing = np.zeros(len(points), dtype=bool)
    crossing[1:] = out[1:] != out[:-1]
    crossing[:-1] |= crossing[1:]
    crossing[-1] = True
    least = tolerance * np.maximum(1.0, np.abs(place).max(axis=1))
    kept = [0]
    (last_x, last_y), *rest = place.tolist()  # plain numbers: arrays of two are slow
    for index, ((x, y), needed, must) in enumerate(
        zip(rest, least[1:].tolist(), crossing[1:].tolist(), strict=True), 1
    ):
        if must or abs(x - last_x) >= needed or abs(y - last_y) >= needed:
            kept.append(index)
            last_x, last_y = x, y
    return np.array(kept)


def envelope(values: np.ndarray, most: int) -> np.ndarray:
    """About ``most`` numbers of values that keep a curve's outline: of each stretch the least and the greatest."""
    if len(values) <= most:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), most // 2):
        kept |= {int(stretch[values[stretch].argmin()]), int(stretch[values[stretch].argmax()])}
    return np.array(sorted(kept))


def _coded(values: np.ndarray, scale: tuple[float, float]) -> str:
    """Logarithms as whole numbers from 0 to 65534 over ``scale``: finer than a thousandth of a decade."""
    with np.errstate(invalid="ignore"):
        logs = np.log10(np.maximum(values, 10.0 ** scale[0]))
        codes = np.round((logs - scale[0]) / (scale[1] - scale[0]) * (_NOTHING - 1))
    return _base64(np.where(np.isfinite(codes), np.clip(codes, 0, _NOTHING - 1), _NOTHING).astype("<u2"))


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
