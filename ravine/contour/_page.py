"""The search paths as one page of HTML: everything that was tried, to be looked at by rate, start and step.

Paths are thinned by what nobody can see, and where that is not enough those at other than the best rates by a little
more; the page says by how much.
"""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine.contour._plot import exits, outside
from ravine.contour._scene import Member, Route, Scene
from ravine.contour._sheet import looks
from ravine.plotting._html import look, rendered

_BUDGET = 1_100_000  # bytes of numbers: with plotly.js the page stays below 6 MB
_GRID = 101  # places along each edge; more are only drawn slower
_TOLERANCE = 1 / 1500  # of the window: less than half a pixel
_COARSEST = 1 / 100
_LOSSES = 400
_NOTHING = 65535  # the code of what is no number


def page(scene: Scene) -> bytes:
    """The page in UTF-8."""
    return rendered("contour.html", scene=scene, data=_data(scene), number=number)


def number(value: float) -> str:
    """A final value in three digits, or that there is none."""
    return f"{value:.3g}" if np.isfinite(value) else "diverged"


def _data(scene: Scene) -> dict[str, Any]:
    """What the page's script reads; numbers by the thousand are base64 of little-endian arrays."""
    losses = [route.losses for member in scene.members for row in member.routes for route in row]
    finite = np.concatenate([*losses, scene.surface.values[np.isfinite(scene.surface.values)]])
    least, most_seen = max(finite.min(), scene.least), max(finite.max(), 10 * scene.least)
    scale = (float(np.log10(least)), float(np.log10(most_seen)))
    every = max(1, (len(scene.surface.xs) - 1) // (_GRID - 1))
    data = {
        "rates": list(scene.rates),
        "starts": [list(start) for start in scene.starts],
        "steps": scene.steps,
        "swept": scene.swept,
        "values": list(scene.values),
        "window": scene.surface.window,
        "minimum": scene.surface.minimum,
        "quantity": scene.quantity,
        "xs": scene.surface.xs[::every].tolist(),
        "ys": scene.surface.ys[::every].tolist(),
        "heights": _coded(scene.surface.values[::every, ::every].ravel(), scale),
        "scale": scale,
        "range": scene.colours,
    }
    tolerance, most = _TOLERANCE, _LOSSES
    while True:
        members = [
            _member(scene, member, look, scale, tolerance, most)
            for member, look in zip(scene.members, _family_looks(scene.members), strict=True)
        ]
        if tolerance >= _COARSEST or len(json.dumps(members)) <= _BUDGET:
            return {**data, "members": members, "moves": round(1 / tolerance)}
        tolerance, most = tolerance * 2, max(100, most // 2)


def _family_looks(members: Sequence[Member]) -> list[dict[str, str]]:
    """A look for each member; all values of a swept hyperparameter share one, since one is shown at a time."""
    families: dict[str, Member] = {}
    for member in members:
        families.setdefault(member.family or member.label, member)
    found = dict(zip(families, looks(list(families.values())), strict=True))
    return [look(found[member.family or member.label]) for member in members]


def _member(
    scene: Scene, member: Member, look: dict[str, str], scale: tuple[float, float], tolerance: float, most: int
) -> dict[str, Any]:
    finals = member.finals.tolist()
    return {
        "label": member.label,
        "value": member.value,
        "reference": member.reference,
        "best": member.best,
        "end": scene.at_the_end(member),
        **look,
        "finals": [[value if np.isfinite(value) else None for value in row] for row in finals],
        "routes": [
            # what is seen first stays fine, however much there is
            [
                _route(scene, route, scale, *((_TOLERANCE, _LOSSES) if rate == member.best else (tolerance, most)))
                for route in row
            ]
            for rate, row in enumerate(member.routes)
        ],
    }


def _route(scene: Scene, route: Route, scale: tuple[float, float], tolerance: float, most: int) -> dict[str, Any]:
    window = scene.surface.window
    kept = thinned(route.points, window, tolerance)
    shown = envelope(route.losses, most)
    found = {
        "n": len(route.points) - 1,
        "s": _base64(kept.astype("<u2")),
        "p": _base64(route.points[kept].astype("<f4")),
        "l": _coded(route.losses[shown], scale),
    }
    if len(shown) < len(route.losses):
        found["t"] = _base64(shown.astype("<u2"))
    if route.diverged_at:
        found["d"] = route.diverged_at
    if count := int(outside(route.points[1:], window).sum()):
        found["o"] = count
        found["e"] = [[step, round(x, 6), round(y, 6), side] for x, y, side, step in exits(route.points, window)]
    return found


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
