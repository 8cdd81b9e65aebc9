"""What is plotted in the tests of the picture and the page."""

import math
from typing import Any

import numpy as np

from ravine.contour._plot_data import PlotData, PlotEntry, SurfaceGrid
from ravine.contour._trajectories import Trajectory

RATES, STARTS = (0.01, 0.1, 1.0), ((-1.5, 0.5), (2.0, -0.5))


def entry(label: str, best: int = 1, scale: float = 1.0, **more: Any) -> PlotEntry:
    """Trajectories that shrink by 1 - rate each step; at the highest rate the first start diverges out of the window."""
    trajectories = []
    for rate in RATES:
        row = []
        for start in STARTS:
            factors = (1 - scale * rate) ** np.arange(21)
            diverged = None
            if rate == RATES[-1] and start == STARTS[0]:
                factors, diverged = (-2.0) ** np.arange(8), 8
            points = factors[:, None] * np.array(start)
            row.append(Trajectory(points, points[:, 0] ** 2 + 9 * points[:, 1] ** 2, diverged))
        trajectories.append(row)
    finals = np.array([[math.inf if t.diverged_at else t.values[-1] for t in row] for row in trajectories])
    return PlotEntry(label, trajectories, finals, best, **more)


def plotted(*entries: PlotEntry, name: str = "bowl", **more: Any) -> PlotData:
    xs, ys = np.linspace(-2, 3, 201), np.linspace(-1, 1, 201)
    surface = SurfaceGrid(xs, ys, xs[None, :] ** 2 + 9 * ys[:, None] ** 2, STARTS[0], (0.0, 0.0), STARTS[1:])
    options = {"lowest": 0.0, "floor": 6e-10, "highest": 6.25, **more}
    return PlotData(name, surface, RATES, STARTS, 20, 0, entries, **options)
