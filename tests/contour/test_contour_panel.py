"""The contour picture: its limits, levels and paths."""

import numpy as np
import pytest

from ravine._plotting import style
from ravine.contour import _contour_panel as contour
from ravine.contour._contour_panel import NamedTrajectory
from ravine.contour._plot_data import SurfaceGrid


@pytest.fixture
def bowl():
    xs, ys = np.linspace(-2, 3, 41), np.linspace(-1, 1, 31)
    return SurfaceGrid(xs, ys, xs[None, :] ** 2 + 9 * ys[:, None] ** 2, start=(-1.5, 0.5), minimum=(0.0, 0.0))


def draw(surface, paths):
    figure = style.blank(9.5, 5.6)
    contour.panel(figure.add_subplot(), surface, paths)
    return figure


def names(figure):
    return figure.axes[0].get_legend_handles_labels()[1]


def test_the_picture_shows_paths_start_and_minimum_in_the_grids_limits(bowl):
    paths = [
        NamedTrajectory("near", [(-1.5, 0.5), (-0.5, 0.1), (0.0, 0.0)]),
        NamedTrajectory("far", [(-1.5, 0.5), (50.0, 9.0), (1e300, 0.0), (np.nan, np.inf)]),
        NamedTrajectory("torch", [(-1.5, 0.5), (-0.5, 0.1), (0.0, 0.0)], reference=True),
    ]
    figure = draw(bowl, paths)
    (axes,) = figure.axes
    assert axes.get_xlim() == (-2, 3)
    assert axes.get_ylim() == (-1, 1)
    assert names(figure) == [
        "near",
        "far\n3 of 3 steps outside",
        "torch",
        "start",
        "minimum",
    ]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["near"].get_xydata().tolist() == [list(p) for p in paths[0].points]
    far = lines["far\n3 of 3 steps outside"].get_xydata()
    assert far[:2].tolist() == [[-1.5, 0.5], [50.0, 9.0]]
    assert np.abs(far).max() < 1e4  # towards the point that is too far to draw
    arrows = [line for line in axes.lines if line.get_marker() == "^"]
    assert [line.get_ydata()[0] for line in arrows] == [1.0]
    assert lines["minimum"].get_xydata().tolist() == [[0.0, 0.0]]
    assert lines["torch"].get_zorder() > lines["near"].get_zorder()
    assert style.png(figure).startswith(b"\x89PNG")


def test_levels_are_evenly_spaced_in_the_logarithm(bowl):
    levels = contour._levels(np.maximum(bowl.values, 1e-300))
    assert np.allclose(np.diff(levels), 0.5)
    assert levels[0] == pytest.approx(levels[-1] - 5)
    assert levels[-1] >= np.log10(bowl.values.max())


def test_arrows_stand_where_a_path_crosses_an_edge():
    window = (-2.0, 3.0, -1.0, 1.0)
    points = np.array([[0, 0], [0, 3], [0, 0], [0.02, 3], [1, 0], [5, 2], [9, 9], [0, 0], [-4, -1.0]])
    assert contour.exits(points, window) == [
        (0.0, 1.0, "^", 1),
        (3.0, 1.0, ">", 5),
        (-2.0, -0.5, "<", 8),
    ]
    assert contour.outside(points, window).tolist() == [False, True, False, True, False, True, True, False, True]


def test_a_diverged_path_has_a_cross_at_its_end_and_says_so(bowl):
    figure = draw(bowl, [NamedTrajectory("wild", [(-1.5, 0.5), (1.0, 0.0)], diverged_at=2)])
    (axes,) = figure.axes
    assert names(figure)[0] == "wild\ndiverged at step 2"
    assert [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "x"] == [[[1.0, 0.0]]]


def test_a_function_without_values_somewhere_and_without_a_known_minimum(bowl):
    values = bowl.values.copy()
    values[:, :10] = np.nan
    values[:, 20] = np.inf
    holes = SurfaceGrid(bowl.xs, bowl.ys, values, start=(1.0, 0.5), minimum=None, starts=[(2.0, 0.0)])
    figure = draw(holes, [NamedTrajectory("near", [(1.0, 0.5), (0.5, 0.1)])])
    assert style.png(figure).startswith(b"\x89PNG")
    assert "minimum" not in names(figure)
