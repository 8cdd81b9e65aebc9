"""Scenes for the tests of the sheet and the page."""

import math

import numpy as np

from ravine.contour._plot import Map
from ravine.contour._scene import Member, Route, Scene

RATES, STARTS = (0.01, 0.1, 1.0), ((-1.5, 0.5), (2.0, -0.5))


def member(label, best=1, scale=1.0, **more):
    """Routes that shrink by 1 - rate each step; at the highest rate the first start diverges out of the window."""
    routes = []
    for rate in RATES:
        row = []
        for start in STARTS:
            factors = (1 - scale * rate) ** np.arange(21)
            diverged = None
            if rate == RATES[-1] and start == STARTS[0]:
                factors, diverged = (-2.0) ** np.arange(8), 8
            points = factors[:, None] * np.array(start)
            row.append(Route(points, points[:, 0] ** 2 + 9 * points[:, 1] ** 2, diverged))
        routes.append(row)
    finals = np.array([[math.inf if r.diverged_at else r.losses[-1] for r in row] for row in routes])
    return Member(label, routes, finals, best, **more)


def scene(*members, name="bowl", **more):
    xs, ys = np.linspace(-2, 3, 201), np.linspace(-1, 1, 201)
    surface = Map(xs, ys, xs[None, :] ** 2 + 9 * ys[:, None] ** 2, STARTS[0], (0.0, 0.0), STARTS[1:])
    options = {"lowest": 0.0, "floor": 6e-10, "highest": 6.25, **more}
    return Scene(name, surface, RATES, STARTS, 20, 0, members, **options)
