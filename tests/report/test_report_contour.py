"""The contour picture: its limits, levels and paths."""

import numpy as np
import pytest

from ravine.report import contour, style
from ravine.report.contour import Map, Path


@pytest.fixture
def bowl():
    xs, ys = np.linspace(-2, 3, 41), np.linspace(-1, 1, 31)
    return Map(xs, ys, xs[None, :] ** 2 + 9 * ys[:, None] ** 2, start=(-1.5, 0.5), minimum=(0.0, 0.0))


def test_the_picture_shows_paths_start_and_minimum_in_the_grids_limits(bowl):
    paths = [
        Path("near", [(-1.5, 0.5), (-0.5, 0.1), (0.0, 0.0)]),
        Path("far", [(-1.5, 0.5), (50.0, 9.0), (1e300, 0.0), (np.nan, np.inf)]),
        Path("torch", [(-1.5, 0.5), (-0.5, 0.1), (0.0, 0.0)], reference=True),
    ]
    figure = contour.draw(bowl, paths, title="bowl")
    (axes,) = figure.axes
    assert axes.get_xlim() == (-2, 3)
    assert axes.get_ylim() == (-1, 1)
    assert [text.get_text() for text in figure.legends[0].texts] == ["near", "far", "torch", "start", "minimum"]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["near"].get_xydata().tolist() == [list(p) for p in paths[0].points]
    assert lines["far"].get_xydata().tolist() == [[-1.5, 0.5], [50.0, 9.0]]
    assert lines["minimum"].get_xydata().tolist() == [[0.0, 0.0]]
    assert lines["torch"].get_zorder() > lines["near"].get_zorder()
    assert style.png(figure).startswith(b"\x89PNG")


def test_levels_are_evenly_spaced_in_the_logarithm(bowl):
    levels = contour._levels(np.maximum(bowl.values, 1e-300))
    assert np.allclose(np.diff(levels), 0.5)
    assert levels[0] == pytest.approx(levels[-1] - 5)
    assert levels[-1] >= np.log10(bowl.values.max())
