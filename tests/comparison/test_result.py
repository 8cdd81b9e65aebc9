"""What a study found, from results that are made up with a known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ravine.comparison._result import Result
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.errors import OptionError
from ravine.optim.search import Range

SPEC = StudySpec(
    "digits",
    tuple(OptimizerConfig(name, {"lr": Range(1e-4, 1.0)}) for name in ("sgd", "rmsprop", "adam")),
    steps=100,
    points=8,
    seeds=8,
)
STEPS = tuple(range(5, 101, 5))


def result(trial, floor, noise):
    """A run that falls towards a floor, the lower the nearer the rate lies to 0.02; its noise is that of its seed."""
    rng = np.random.default_rng([trial.seed, len(trial.label)])
    shared = np.random.default_rng(trial.seed).normal(0, noise)  # what paired seeds have in common
    level = floor[trial.label] + 0.1 * abs(math.log10(trial.point["lr"] / 0.02)) + shared + rng.normal(0, noise / 5)
    if trial.point["lr"] > 0.3:
        return TrialResult(diverged=True)
    losses = tuple(float(level + math.exp(-s / 20)) for s in STEPS)
    metrics = {"accuracy": 1 - level / 10, "test_loss": level} if trial.kind == "final" else {}
    return TrialResult(losses[-1], STEPS, losses, False, metrics, {}, 1e-3)


def played(floor, noise=0.01):
    done = {}
    while True:
        now = stage(SPEC, done)
        if now.name == "done":
            return Result(StudyRecord(SPEC, done))
        done |= {trial.key(SPEC): result(trial, floor, noise) for trial in now.trials}


def test_a_study_with_a_known_truth():
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    judgement = result.judge("adam")
    kinds = {p.first: p.kind for p in judgement.pairs["validation loss"]} | {
        p.second: p.kind for p in judgement.pairs["validation loss"]
    }
    assert judgement.base["validation loss"] in ("adam", "rmsprop")
    losses = {p.first: p for p in judgement.pairs["validation loss"]}
    assert losses["sgd"].kind == "worse"
    assert losses["sgd"].difference == pytest.approx(0.3, abs=0.05)
    other = next(name for name in ("adam", "rmsprop") if name in losses)
    assert losses[other].kind == "no difference shown"
    assert kinds
    assert "sgd" in judgement.sentence.lower()
    assert {"test loss", "accuracy"} <= judgement.pairs.keys()
    accuracy = {p.first: p for p in judgement.pairs["accuracy"]}
    assert accuracy["sgd"].kind == "worse", "of accuracy more is better"


def test_runs_have_all_that_was_tried():
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    for each in result.record.runs:
        assert len(each.runs) == SPEC.seeds
        assert len([t for t in each.trials if t.seed == 0]) >= SPEC.points
        assert each.chosen is not None
        assert dict(each.chosen.point) == dict(result.record.stage.chosen[each.name])
    assert [sorted(r.seed for r in each.runs) for each in result.record.runs] == [list(range(1000, 1008))] * 3


def test_tables():
    pandas = pytest.importorskip("pandas")
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    trials = result.trials()
    assert isinstance(trials, pandas.DataFrame)
    assert len(trials) == len(result.trial_results)
    assert (trials[trials["kind"] == "final"]["accuracy"] > 0.9).all()
    assert trials[trials["diverged"]]["lr"].min() > 0.3
    curves = result.curves()
    assert len(curves) == len(STEPS) * int((~trials["diverged"]).sum())


def test_a_study_that_is_not_complete_is_not_judged():
    with pytest.raises(OptionError, match=r"Nothing can be judged yet: 0 of 66 trainings are done.* there are 0\."):
        Result(StudyRecord(SPEC, {})).judge()
    assert Result(StudyRecord(SPEC, {})).rows() == []


def test_differences_are_a_table():
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    table = result.differences()
    losses = table[table.metric == "validation loss"].set_index("first")
    assert losses.loc["sgd"].kind == "worse"
    assert losses.loc["sgd"].low < losses.loc["sgd"].difference < losses.loc["sgd"].high
    assert set(table.metric) == {"steps to target", "validation loss", "accuracy", "test loss"}
