"""Search paths: the same as by hand with torch.optim, fair, and ended where they diverge."""

import json
import math

import numpy as np
import pytest
import torch

from ravine.contour import _trajectories as trajectories
from ravine.contour._paths_json import to_json
from ravine.contour._search_record import FLOOR, Entry, SearchRecord
from ravine.contour._trajectories import dry_run, follow, learning_rates
from ravine.errors import OptionError, TrainingError
from ravine.optim import _spec as specs
from ravine.tasks import Surface
from ravine.tasks import _surfaces as surfaces
from ravine.tasks._starts import starts

RAVINE = surfaces.find("ravine")[1]
RATES, STARTS = (0.001, 0.01, 0.1), ((-8.0, 1.5), (3.0, -2.0))


def by_hand(cls, lr, start, steps, value, **options):
    point = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = cls([point], lr=lr, **options)
    points, values = [], []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        loss = value(point)
        loss.backward()
        points.append(point.tolist())
        values.append(loss.item())
        optimizer.step()
    return points, values


def found(spec, surface=RAVINE, rates=RATES, starts=STARTS, steps=40):
    optimizer = specs.parse(spec, None, 1.0)
    entry = Entry(optimizer, follow(optimizer, surface, rates, starts, steps), spec)
    return SearchRecord("a", surface, tuple(rates), tuple(starts), steps, 0, (entry,))


@pytest.mark.parametrize(
    ("spec", "cls", "options"),
    [
        ("sgd", torch.optim.SGD, {}),
        ("momentum", torch.optim.SGD, {"momentum": 0.9}),
        ("rmsprop:alpha=0.9", torch.optim.RMSprop, {"alpha": 0.9}),
        ("adam", torch.optim.Adam, {}),
        ("torch-rprop", torch.optim.Rprop, {}),
    ],
)
def test_every_path_is_the_one_that_torch_takes(spec, cls, options):
    (entry,) = found(spec).entries
    for rate, row in zip(RATES, entry.trajectories, strict=True):
        for start, path in zip(STARTS, row, strict=True):
            points, values = by_hand(cls, rate, start, 40, RAVINE.value, **options)
            assert path.points == pytest.approx(np.array(points), rel=1e-9, abs=1e-12)
            assert path.values == pytest.approx(np.array(values), rel=1e-9, abs=1e-12)
            assert path.diverged_at is None


def test_no_path_sees_another_and_nothing_depends_on_chance():
    alone = follow(specs.parse("sgd:clip_norm=0.5", None, 1.0), RAVINE, RATES[2:], STARTS[1:], 20)[0][0]
    together = [found("sgd:clip_norm=0.5", steps=20).entries[0].trajectories[2][1] for _ in range(2)]
    for path in together:
        assert np.array_equal(path.points, alone.points)


def test_final_values_are_those_of_the_last_points():
    record = found("adam")
    (entry,) = record.entries
    for rate in range(len(RATES)):
        for start in range(len(STARTS)):
            last = torch.tensor(entry.trajectories[rate][start].points[-1])
            assert record.excess(entry)[rate, start] == RAVINE.value(last).item()


def test_a_diverged_path_ends_before_the_step_and_its_final_value_is_infinite():
    (entry,) = found("sgd", rates=(0.1, 1.0), steps=100).entries
    good, bad = entry.trajectories[0][0], entry.trajectories[1][0]
    assert len(good.points) == len(good.values) == 101
    assert 0 < bad.diverged_at < 100
    assert len(bad.points) == len(bad.values) == bad.diverged_at
    limit = trajectories.FARTHEST * 14
    assert np.abs(bad.points).max() < limit
    assert abs(bad.points[-1] * 9).max() > limit  # 1 - 10 is what this rate multiplies y by
    assert entry.finals[1].tolist() == [math.inf, math.inf]


def test_the_best_rate_has_the_fewest_diverged_starts_and_then_the_least_mean():
    record = found("sgd", rates=(0.01, 0.1, 1.0), steps=60)
    (entry,) = record.entries
    means = [np.log(row).mean() for row in record.excess(entry)]
    assert record.best(entry) == 1
    assert means[1] == min(means)
    assert record.score(entry, 2)[0] == 2


def test_rates_are_even_in_the_logarithm_and_at_most_four_decades():
    assert learning_rates(1e-4, 1, 5) == (1e-4, 1e-3, 1e-2, 0.1, 1.0)
    assert learning_rates(1e-4, 1, 13)[1] == 0.000215
    close = learning_rates(1.0, 1.001, 50)
    assert len(set(close)) == 50
    for bad, text in (
        ((1e-5, 1.0), "4 decades"),
        ((1.0, 0.1), "must be below"),
        ((0.0, 1.0), "lowest rate is 0"),
        ((0.1, math.inf), "highest rate is inf"),
    ):
        with pytest.raises(OptionError, match=text):
            learning_rates(*bad, 5)


def test_starts_are_the_own_one_and_others_in_the_window_by_the_seed():
    found = starts(RAVINE, 6, 0)
    assert found[0] == RAVINE.start
    assert len(set(found)) == 6
    assert all(-10 <= x <= 4 and -2.5 <= y <= 2.5 for x, y in found)
    assert found == starts(RAVINE, 6, 0) != starts(RAVINE, 6, 1)
    assert starts(surfaces.find("rosenbrock")[1], 1, 0) == ((-1.2, 1.0),)


def half(point):
    """Defined where x is above 0 only."""
    x, y = point.unbind(-1)
    return x - x.log() + y**2


def test_a_function_with_holes_gives_starts_where_it_has_values_and_the_lowest_seen():
    surface = Surface(half, (1.0, 1.0), None, (-2.0, 2.0, -2.0, 2.0))
    points = starts(surface, 8, 0)
    assert all(x > 0 for x, _ in points)
    record = found("sgd", surface, (0.01, 0.9), points, 50)
    assert record.lowest == pytest.approx(1, abs=1e-3)
    near = Surface(lambda p: half(p) - 1, (1.0, 1.0), None, (-2.0, 2.0, -2.0, 2.0))
    assert found("sgd", near, (0.01, 0.1), points, 200).lowest == 0.0
    lower = Surface(lambda p: half(p) - 3, (1.0, 1.0), None, (-2.0, 2.0, -2.0, 2.0))
    assert found("sgd", lower, (0.01, 0.1), points, 50).lowest == pytest.approx(-2, abs=1e-3)
    with pytest.raises(OptionError, match="only 1 have a finite value"):
        starts(Surface(half, (1.0, 1.0), None, (-2.0, 0.0, -2.0, 2.0)), 3, 0)


def test_what_fails_is_said_in_the_optimizers_and_the_functions_terms():
    with pytest.raises(OptionError, match="torch-lbfgs: its step fails"):
        dry_run(specs.parse("torch-lbfgs", None, 1.0), RAVINE, RATES)

    def fragile(point):
        if point.abs().max() > 9:
            raise ValueError("too far")
        return RAVINE.value(point)

    surface = Surface(fragile, (1.0, 1.0), (0.0, 0.0), (-2.0, 2.0, -2.0, 2.0))
    with pytest.raises(TrainingError, match=r"The function fails on points from .*ValueError: too far"):
        found("sgd", surface, (0.01, 1.0), ((1.0, 1.0),))


def test_the_record_is_strict_json_with_every_path():
    record = found("sgd", rates=(0.1, 1.0), steps=1500)
    text = to_json(record).decode()
    assert "NaN" not in text
    assert "Infinity" not in text
    document = json.loads(text)
    (entry,) = document["optimizers"]
    assert entry["best_rate"] == 0.1
    assert entry["finals"][1] == [None, None]
    path, walked = entry["paths"][0][1], record.entries[0].trajectories[0][1]
    assert path["step"][0] == 0
    assert path["step"][-1] == 1500
    assert path["x"] == pytest.approx(walked.points[path["step"], 0], rel=1e-6)
    assert path["value"] == pytest.approx(walked.values[path["step"]], rel=1e-6)
    assert entry["paths"][1][0]["diverged_at"] == record.entries[0].trajectories[1][0].diverged_at


def test_a_start_at_the_minimum_is_no_reason_to_fail():
    record = found("sgd", starts=((0.0, 0.0),))
    assert (record.lowest, record.highest, record.floor) == (0.0, 1.0, FLOOR)
    assert record.best(record.entries[0]) == 0
