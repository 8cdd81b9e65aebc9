"""Which trainings are needed: equal budgets, the best again, widening for all, fresh seeds. Outcomes are made up."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.optim.search import Range

SPEC = StudySpec(
    "digits",
    (OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}), OptimizerConfig("adam", {"lr": Range(1e-5, 0.1)})),
    steps=10,
    points=8,
    seeds=4,
)


def play(spec, loss):
    """Do what is needed until nothing is; all trials by stage."""
    done, stages = {}, []
    while True:
        now = stage(spec, done)
        if now.name == "done":
            return now, stages
        stages.append((now.name, now.trials))
        for trial in now.trials:
            value = loss(trial)
            done[trial.key(spec)] = TrialResult(score=value, diverged=not math.isfinite(value))
        assert len(stages) < 20


def valley(best):
    """A loss with its minimum at a rate for each optimizer, and a little noise by seed."""
    return lambda trial: abs(math.log10(trial.point["lr"] / best[trial.label])) + 0.001 * (trial.seed % 7)


def test_a_study_whose_best_points_lie_inside():
    last, stages = play(SPEC, valley({"sgd": 0.1, "adam": 1e-3}))
    assert [name for name, _ in stages] == ["tune", "re-evaluate", "final"]
    tune, again, confirm = (trials for _, trials in stages)
    assert Counter((j.label, j.seed) for j in tune) == {("sgd", 0): 8, ("adam", 0): 8}
    assert Counter((j.label, j.seed) for j in again) == {(a, s): 3 for a in ("sgd", "adam") for s in (1, 2)}
    assert Counter(j.label for j in confirm) == {"sgd": 4, "adam": 4}
    seeds = {label: sorted(j.seed for j in confirm if j.label == label) for label in ("sgd", "adam")}
    assert seeds["sgd"] == seeds["adam"], "paired"
    assert not set(seeds["sgd"]) & {0, 1, 2}, "fresh"
    assert {j.kind for j in confirm} == {"final"}
    for label, best in (("sgd", 0.1), ("adam", 1e-3)):
        rates = [j.point["lr"] for j in tune if j.label == label]
        assert last.chosen[label]["lr"] == min(rates, key=lambda r: abs(math.log10(r / best)))
    assert last.edges == {}


def test_where_one_lies_at_an_edge_every_optimizer_gets_the_same_number_more():
    last, stages = play(SPEC, valley({"sgd": 0.1, "adam": 0.4}))
    names = [name for name, _ in stages]
    assert names[:3] == ["tune", "re-evaluate", "expand"]
    widen = stages[2][1]
    assert Counter(j.label for j in widen) == {"sgd": 4, "adam": 4}
    assert all(0.1 < j.point["lr"] <= 1.0 for j in widen if j.label == "adam"), "beyond the edge"
    assert all(1e-3 <= j.point["lr"] <= 10 for j in widen if j.label == "sgd"), "as declared"
    assert 0.1 < last.chosen["adam"]["lr"] < 1.0
    assert {len(t.points) for t in last.tunings} == {12}


def test_an_edge_that_stays_one_is_said_and_widening_ends():
    last, stages = play(SPEC, valley({"sgd": 0.1, "adam": 1e9}))
    assert [name for name, _ in stages].count("expand") == SPEC.expansions
    assert last.edges == {"adam": "the high end of lr"}


def test_points_that_diverge_are_never_chosen():
    loss = valley({"sgd": 0.1, "adam": 1e-3})
    last, _ = play(SPEC, lambda trial: math.inf if trial.point["lr"] > 0.05 else loss(trial))
    assert last.chosen["sgd"]["lr"] <= 0.05


def test_a_point_that_was_lucky_once_is_not_chosen():
    loss = valley({"sgd": 0.1, "adam": 1e-3})

    def lucky(trial):
        worst = max(p["lr"] for t in stage(SPEC, {}).tunings if t.config.label == "sgd" for p in t.points)
        if trial.label == "sgd" and trial.point["lr"] == worst:
            return 0.0 if trial.seed == 0 else 5.0
        return loss(trial)

    last, _ = play(replace(SPEC, expansions=0), lucky)
    assert last.chosen["sgd"]["lr"] == pytest.approx(0.1, rel=3)


def test_the_list_depends_on_nothing_but_spec_and_outcomes():
    again = StudySpec.from_json(SPEC.to_json())
    assert again == SPEC
    assert again.hash == SPEC.hash
    first, second = stage(SPEC, {}), stage(again, {})
    assert [j.key(SPEC) for j in first.trials] == [j.key(again) for j in second.trials]
    assert len({j.key(SPEC) for j in first.trials}) == 16


def test_what_differs_between_specs_is_said():
    other = replace(
        SPEC,
        steps=11,
        optimizers=(
            OptimizerConfig("sgd", {"lr": Range(1e-3, 1.0)}),
            OptimizerConfig("rmsprop", {"lr": Range(1e-3, 1)}),
        ),
    )
    assert other.hash != SPEC.hash
    text = "; ".join(SPEC.differences(other))
    assert "steps: 11 in the study, 10 now" in text
    assert "adam takes part only now" in text
    assert "rmsprop takes part only in the study" in text
    assert "sgd, space" in text
    assert SPEC.differences(SPEC) == []


def test_an_optimizer_without_a_space_is_tried_once():
    spec = StudySpec("digits", (OptimizerConfig("sgd:lr=0.1", {}),), steps=10, seeds=2)
    last, stages = play(spec, lambda trial: 1.0)
    assert [(name, len(trials)) for name, trials in stages] == [("tune", 1), ("re-evaluate", 2), ("final", 2)]
    assert last.chosen == {"sgd:lr=0.1": {}}
