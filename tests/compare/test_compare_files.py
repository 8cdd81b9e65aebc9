"""The JSON record of a comparison and the rows of its table."""

import json
import math

import pytest
import torch

from ravine import tasks
from ravine.compare import contenders, record, run, summary


@pytest.fixture(scope="module")
def outcome():
    task = tasks.find("rosenbrock")
    start = task.start(0)
    specs = ["torch-sgd:lr=1", "torch-sgd:lr=1e-5", "torch-adam:betas=(0.8, 0.9)"]
    field = contenders.parse_all(specs, task)
    return task, [run.train(task, contender, start, epochs=12, seed=0) for contender in field]


def strict(content):
    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(content, parse_constant=refuse)


def test_the_record_is_strict_json_with_everything_in_it(outcome):
    task, results = outcome
    document = strict(record.to_json(task, results, seed=4, epochs=12, interrupted=True))
    assert document["torch"] == torch.__version__
    assert (document["task"], document["seed"], document["epochs"], document["batch_size"]) == ("rosenbrock", 4, 12, 1)
    assert document["interrupted"] is True
    wild, tame, adam = document["contenders"]
    assert wild["diverged_at"] == wild["steps"] == len(results[0].losses)
    assert wild["test_loss"] is None
    assert wild["curve"]["loss"][-1] is None
    assert wild["curve"]["loss"][:-1] == results[0].losses[:-1]
    assert adam["options"]["betas"] == [0.8, 0.9]
    assert adam["spec"] == "torch-adam:betas=(0.8, 0.9)"
    assert tame["lr"] == tame["options"]["lr"] == 1e-5
    assert tame["diverged_at"] is None
    assert {"train_loss", "test_loss", "distance", "seconds_per_epoch", "step_share"} <= tame.keys()


def test_a_long_curve_is_thinned_but_keeps_its_ends(outcome):
    task, results = outcome
    tame = strict(record.to_json(task, results, seed=0, epochs=12, interrupted=False))["contenders"][1]
    curve, path, losses = tame["curve"], tame["path"], results[1].losses
    assert len(losses) == 1200
    assert len(curve["step"]) == len(curve["loss"]) <= 1001
    assert (curve["step"][0], curve["step"][-1]) == (1, 1200)
    assert curve["loss"] == [losses[step - 1] for step in curve["step"]]
    assert (path["step"][0], path["step"][-1]) == (0, 1200)
    assert path["point"][0] == list(task.surface.start)
    assert path["point"][-1] == list(results[1].path[-1])


def test_the_table_has_the_best_first_and_the_diverged_last(outcome):
    task, results = outcome
    heads, rows = summary.table(task, results)
    assert heads == ["optimizer", "lr", "value at end", "distance", "s/epoch", "in step"]
    assert [row[0] for row in rows] == ["torch-adam:betas=(0.8, 0.9)", "torch-sgd:lr=1e-5", "torch-sgd:lr=1"]
    assert rows[-1][2:4] == ["diverged", ""]
    assert {len(row) for row in rows} == {len(heads)}
    assert float(rows[0][2]) == pytest.approx(results[2].test_loss, rel=1e-2)


def test_not_a_number_does_not_upset_the_order(outcome):
    _, results = outcome
    broken = run.Result(**{**vars(results[1]), "test_loss": math.nan})
    for order in ([broken, results[2], results[1]], [results[1], broken, results[2]]):
        assert summary.ranked(order)[-1] is broken
