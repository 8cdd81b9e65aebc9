"""The warnings: each is shown where it is planted, and stays silent where it is not."""

from dataclasses import replace

import numpy as np
import pytest

from ravine.comparison._judge import (
    ConfirmationRun,
    OptimizerRuns,
    Range,
    TuningTrial,
    edges,
    expected_bias,
    selection_bias_of,
    under_tuned,
    warnings_of,
)
from ravine.comparison._judge.warnings import diverged

#: Optimizers, and those that they become at some setting.
SPECIAL = {"momentum": ("sgd",), "adam": ("rmsprop",), "adamw": ("adam", "rmsprop")}


def tuned(rng, truth, noise, *, seeds=10, again=2):
    """An optimizer of these true losses: one sweep, the best three again, and fresh seeds at the chosen point."""
    sweep = [TuningTrial({"lr": i}, 0, mu + noise * rng.normal()) for i, mu in enumerate(truth)]
    best = sorted(sweep, key=lambda trial: trial.score)[:3]
    more = [
        TuningTrial(t.point, s, truth[t.point["lr"]] + noise * rng.normal()) for t in best for s in range(1, again + 1)
    ]
    optimizer = OptimizerRuns("adam", sweep + more)
    scores = truth[optimizer.chosen.point["lr"]] + noise * rng.normal(size=seeds)
    return OptimizerRuns(
        "adam", sweep + more, [ConfirmationRun(i, [1], [score], score) for i, score in enumerate(scores)]
    )


@pytest.mark.parametrize("again", [0, 2])
def test_the_winners_curse_is_shown_where_all_points_are_equal(again):
    rng = np.random.default_rng(0)
    biases = [selection_bias_of(tuned(rng, np.ones(16), 0.1, again=again)) for _ in range(60)]
    assert np.mean([bias.shown for bias in biases]) > (0.9 if again == 0 else 0.6)
    true = np.mean([bias.bias for bias in biases])
    assert true > 0.05
    assert 0.5 < np.mean([bias.expected for bias in biases]) / true < 1.2
    assert "is expected from choosing the best of noisy scores" in next(c for c in biases if c.shown).sentence


def test_the_winners_curse_is_not_shown_without_noise_or_without_a_choice():
    rng = np.random.default_rng(0)
    silent = selection_bias_of(tuned(rng, np.linspace(0.3, 0.9, 16), 0.0))
    assert silent.bias == pytest.approx(0, abs=1e-12)
    assert silent.expected == 0
    assert not silent.shown
    assert "within the noise between seeds" in silent.sentence
    one = [selection_bias_of(tuned(rng, np.ones(1), 0.1)) for _ in range(20)]
    assert not any(bias.shown for bias in one)
    apart = [selection_bias_of(tuned(rng, np.r_[0.0, 5.0 + np.arange(15)], 0.1)) for _ in range(20)]
    assert not any(bias.shown for bias in apart)


def test_the_expected_optimism_of_equal_points_is_a_known_number():
    # As if 16 equal scores were the truth: the least of 16 normals lies 1.766 spreads below their mean.
    assert expected_bias(np.ones(16), 0.1) == pytest.approx(0.1766, abs=0.005)
    assert expected_bias(np.ones(16), 0.1, finalists=3, trials=3) < 0.12
    assert expected_bias(np.ones(1), 0.1) == expected_bias(np.arange(9.0), 0.0) == 0.0


def test_a_tuning_score_that_noise_seldom_gives_is_shown_whatever_the_reason():
    rng = np.random.default_rng(5)
    apart = [tuned(rng, np.r_[0.0, 5.0 + np.arange(15)], 0.1) for _ in range(40)]
    false = np.mean([selection_bias_of(optimizer).shown for optimizer in apart])
    assert false <= 0.05
    lucky = [
        replace(optimizer, trials=[replace(t, score=t.score - 1.0) for t in optimizer.trials]) for optimizer in apart
    ]
    biases = [selection_bias_of(optimizer) for optimizer in lucky]
    assert all(bias.shown for bias in biases)
    assert "worse: its tuning runs were lucky. Quote the score on fresh seeds." in biases[0].sentence


def test_without_trials_or_runs_there_is_no_curse(make_optimizer):
    assert selection_bias_of(make_optimizer("a", [[1.0], [2.0]])) is None
    assert selection_bias_of(make_optimizer("a", [[1.0]], tuning={0.1: 1.0})) is None
    assert selection_bias_of(make_optimizer("a", [[1.0], [1.1]], tuning={0.1: None})) is None
    assert selection_bias_of(make_optimizer("a", [[1.0], None, None], tuning={0.1: 1.0})) is None


def losing(gap, make_optimizer, rng, names=("adam", "rmsprop")):
    base = rng.normal(0.5, 0.05, 10)
    worse = base + gap + 0.02 * rng.normal(size=10)
    return [make_optimizer(names[0], [[x] for x in worse]), make_optimizer(names[1], [[x] for x in base])]


def test_an_arm_that_loses_to_its_special_case_is_under_tuned_only_beyond_noise(make_optimizer):
    rng = np.random.default_rng(0)
    [warning] = under_tuned(losing(0.1, make_optimizer, rng), SPECIAL)
    assert (warning.kind, warning.optimizer) == ("under-tuned", "adam")
    assert "loses to its own special case rmsprop" in warning.sentence
    assert not under_tuned(losing(-0.1, make_optimizer, rng), SPECIAL)
    noise = [bool(under_tuned(losing(0.0, make_optimizer, rng), SPECIAL)) for _ in range(300)]
    assert np.mean(noise) < 0.055


def test_special_cases_are_found_by_family_and_only_where_they_are_named(make_optimizer):
    rng = np.random.default_rng(0)
    assert under_tuned(losing(0.1, make_optimizer, rng, ("torch-adam:eps=1e-6", "rmsprop-keras:alpha=0.9")), SPECIAL)
    assert not under_tuned(losing(0.1, make_optimizer, rng, ("rmsprop", "adam")), SPECIAL)
    assert not under_tuned(losing(0.1, make_optimizer, rng, ("adam", "adam:eps=1e-6")), SPECIAL)
    assert under_tuned(losing(0.1, make_optimizer, rng, ("mine", "other")), {"mine": ["other"]})


def test_a_best_point_at_an_edge_names_hyperparameter_and_side(make_optimizer):
    space = {"lr": Range(1e-4, 1.0), "alpha": Range(0.0, 1.0, "linear")}
    rates = np.geomspace(2e-4, 0.5, 7)
    for best, side in ((0, "lower"), (6, "upper"), (3, None)):
        optimizer = make_optimizer("adam", tuning={lr: abs(i - best) for i, lr in enumerate(rates)})
        found = edges(optimizer, space)
        assert [(edge.hyperparameter, edge.side) for edge in found] == ([("lr", side)] if side else [])
    assert edges(make_optimizer("adam", tuning={rates[0]: 0.0, 0.1: 1.0, 0.2: 2.0}), space)[0].sentence == (
        "adam: its best lr, 0.0002, is at the lower edge of the search space; smaller values were not tried and may be "
        "better."
    )
    assert edges(make_optimizer("adam"), space) == []


def test_a_log_range_measures_on_the_logarithm(make_optimizer):
    two = make_optimizer("adam", tuning={1e-3: 0.0, 1e-2: 1.0})  # two points: neither is beyond the other
    assert edges(two, {"lr": Range(1e-5, 1.0)}) == []
    low = make_optimizer("adam", tuning={1.0: 0.0, 1e-2: 1.0})
    assert edges(low, {"lr": Range(1e-5, 1.0, "linear")})
    assert edges(low, {"lr": Range(1e-5, 1.0, "linear", most=1.0)}) == [], "larger values are not possible"
    [edge] = edges(two, {"lr": Range(1e-5, 1.0, "linear")})
    assert edge.side == "lower"
    assert Range(1e-4, 1.0).position(1e-2) == pytest.approx(0.5)


def test_the_share_that_diverged_is_counted(make_optimizer):
    optimizer = make_optimizer("sgd", [[1.0], None], tuning={0.1: 1.0, 1.0: None, 10.0: None, 0.2: 0.5})
    assert diverged(optimizer).sentence == (
        "sgd diverged at 2 of 4 tuning points (50%) and in 1 of 2 confirmation runs (50%)."
    )  # fmt: skip
    assert diverged(make_optimizer("sgd", [[1.0]], tuning={0.1: 1.0})) is None
    assert [w.kind for w in warnings_of([optimizer])] == ["diverged"]


def test_all_warnings_come_together(make_optimizer):
    rng = np.random.default_rng(0)
    adam = tuned(rng, np.r_[np.ones(3), np.full(13, 3.0)], 0.1, again=0)
    rms = make_optimizer("rmsprop", [[0.4 + 0.01 * i] for i in range(10)], tuning={0.1: 0.4, 1.0: None})
    said = warnings_of([adam, rms], {"adam": {"lr": Range(0, 15, "linear")}}, SPECIAL)
    assert {(w.kind, w.optimizer) for w in said} >= {("under-tuned", "adam"), ("diverged", "rmsprop")}
