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
    looks=(8,),
)
STEPS = tuple(range(0, 101, 5))


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
    judgement = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2}).judge()
    assert list(judgement.compared) == ["validation loss", "accuracy", "test loss"]
    for compared in judgement.compared.values():  # of accuracy more is better
        found = compared.with_best
        assert {s.name: s.verdict for s in found.standings} == {
            "sgd": "not the best",
            "rmsprop": "may be the best",
            "adam": "may be the best",
        }
        assert found.standing("sgd").low > 0
    assert judgement.losses.standing("sgd").difference == pytest.approx(0.3, abs=0.05)
    assert "Either adam or rmsprop may be the best; sgd is not." in judgement.sentence


def test_other_options_give_another_judgement():
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    assert result.judge(margin="50%").losses.margin > result.judge(margin="0.01").losses.margin == 0.01
    wider = result.judge(alpha=0.001).losses.standing("sgd")
    usual = result.judgement.losses.standing("sgd")
    assert wider.high - wider.low > usual.high - usual.low
    assert result.judge(target=0.3).target.loss == 0.3


def test_runs_have_all_that_was_tried():
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    for each in result.record.runs:
        assert len(each.runs) == SPEC.seeds
        assert len(each.trials) >= SPEC.points * SPEC.seeds
        for run, best in zip(each.runs, each.tuned, strict=True):
            (chosen,) = [t for t in each.trials if t.seed == run.seed - 1 and t.score == best]
            assert chosen.point == run.point
    assert [[run.seed for run in each.runs] for each in result.record.runs] == [list(range(1, 17, 2))] * 3


def test_tables():
    pandas = pytest.importorskip("pandas")
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    trials = result.trials()
    assert isinstance(trials, pandas.DataFrame)
    assert len(trials) == len(result.trial_results)
    assert (trials[(trials["kind"] == "final") & ~trials["diverged"]]["accuracy"] > 0.9).all()
    assert trials[trials["diverged"]]["lr"].min() > 0.3
    curves = result.curves()
    assert len(curves) == len(STEPS) * int((~trials["diverged"]).sum())
    assert (curves.groupby(["optimizer", "kind", "seed", "lr"])["step"].min() == 0).all()


def test_a_study_that_is_not_complete_is_not_judged():
    with pytest.raises(OptionError, match=r"Nothing can be judged yet: 0 of .* trainings are done.* there are 0\."):
        Result(StudyRecord(SPEC, {})).judge()
    assert Result(StudyRecord(SPEC, {})).rows() == []


def test_differences_are_a_table():
    result = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2})
    table = result.differences()
    losses = table[table.metric == "validation loss"].set_index(["first", "second"])
    assert len(losses) == 6
    worse = losses.loc["sgd", "adam"]
    assert 0 < worse.low < worse.difference < worse.high
    assert losses.loc["adam", "sgd"].difference == -worse.difference
    assert set(table.metric) == {"validation loss", "accuracy", "test loss"}


def test_standings_are_a_table():
    table = played({"sgd": 0.5, "rmsprop": 0.2, "adam": 0.2}).standings()
    losses = table[table.metric == "validation loss"].set_index("name")
    assert list(losses.index)[-1] == "sgd"
    assert losses.loc["sgd"].verdict == "not the best"
    assert 0 < losses.loc["sgd"].low < losses.loc["sgd"].difference < losses.loc["sgd"].high
    assert list(losses.runs) == [8, 8, 8]
