"""However many losses come, their curve has a few hundred points, which are means of them."""

import math

import numpy as np
import pytest

from ravine.train._display.loss_track import LossTrack


@pytest.mark.parametrize("steps", [0, 1, 7, 8, 9, 1000, 1025])
def test_points_are_means_of_neighbours(steps):
    losses = np.random.default_rng(0).normal(size=steps)
    track = LossTrack(points=4)
    for start in range(0, steps, 3):
        track.add(losses[start : start + 3].tolist())
    places, means = track.points()
    size = 1
    while steps >= 8 * size:
        size *= 2
    expected = [losses[i : i + size].mean() for i in range(0, steps, size)]
    np.testing.assert_allclose(means, expected, atol=1e-12)
    middles = [(i + 1 + min(i + size, steps)) / 2 for i in range(0, steps, size)]
    np.testing.assert_allclose(places, middles)
    assert len(places) <= 8
    assert track.count == steps


def test_what_is_not_finite_is_in_no_mean():
    track = LossTrack(points=2)
    track.add([1.0, math.nan, math.inf, math.nan, 3.0])
    assert track.broken == 3
    _, means = track.points()
    np.testing.assert_allclose(means, [1.0, math.nan, 3.0])
    LossTrack(points=2).add([1.7e308] * 4)  # their sum is no double
