"""A study's record: what its judgement is told of the plan. Outcomes are made up."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._export.results_json import results_json
from ravine.comparison._judge.critical_values import critical_values
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.optim.search import Range

ARMS = tuple(OptimizerConfig(name, {"lr": Range(1e-3, 1.0)}) for name in ("adam", "sgd"))
LOOKS = (3, 6)


def played(gaps, looks=LOOKS):
    """A study to its end; the loss of sgd is above that of adam by so much in each seed."""
    spec = StudySpec("digits", ARMS, steps=10, points=2, looks=looks, margin="0", expansions=0)
    done = {}
    while (now := stage(spec, done)).name != "done":
        for trial in now.trials:
            fresh = trial.kind == "final" and trial.label == "sgd"
            value = 1.0 + (gaps[trial.seed // 2] if fresh else 0.0)
            done[trial.key(spec)] = TrialResult(value, (0, 10), (9.0, value), diverged=False)
    return StudyRecord(spec, done), now


def gaps_of(t):
    """Three differences with that t-statistic, and three more that leave no doubt."""
    return [t / np.sqrt(3) + size for size in (-1.0, 0.0, 1.0)] + [t / np.sqrt(3)] * 3


@pytest.fixture
def between():
    """A t-statistic of three runs that a single look would believe, and the first of two does not."""
    alone, planned = critical_values(2, LOOKS[:1])[2, 0], critical_values(2, LOOKS)[2, 0]
    assert alone == pytest.approx(stats.t.ppf(0.975, 2))
    assert alone < planned
    return (alone + planned) / 2


def test_the_first_of_several_looks_ends_a_study_only_at_the_level_of_all_of_them(between):
    assert played(gaps_of(between), LOOKS[:1])[0].judge().losses.top == ["adam"]
    record, last = played(gaps_of(between))
    assert last.seeds == 6
    assert len(record.runs[0].runs) == 6


def test_a_study_is_judged_at_all_looks_that_it_had(between):
    record, _ = played(gaps_of(between))
    losses = record.judge().losses
    assert record.looks == losses.looks == LOOKS
    difference, low, high = losses.pairs["sgd", "adam"]
    gaps = gaps_of(between)
    assert difference == pytest.approx(np.mean(gaps))
    assert (high - low) / 2 == pytest.approx(critical_values(2, LOOKS)[2, 1] * stats.sem(gaps))


def test_what_a_study_that_settles_early_has_saved():
    """Against the number of trainings of the same study to its last look."""
    early, _ = played(gaps_of(100.0))
    whole, _ = played(gaps_of(0.0))
    saved = early.settled_early
    assert (saved.seeds, saved.planned) == LOOKS
    assert saved.saved == pytest.approx(1 - len(early.results) / len(whole.results), abs=0.05)
    share = f"{saved.saved:.0%}"
    assert saved.sentence == f"Settled after 3 of 6 seeds, which saved about {share} of the trainings."
    assert json.loads(results_json(early, early.judge()))["settled_early"] == asdict(saved)
    assert whole.settled_early is None
    assert json.loads(results_json(whole, whole.judge()))["settled_early"] is None
    assert StudyRecord(early.spec, {}).settled_early is None, "it has not begun"
