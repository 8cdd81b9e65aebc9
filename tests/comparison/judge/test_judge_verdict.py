"""The whole judgement: simulated studies with a known truth, and the two sentences at the top of the report."""

import numpy as np
import pytest

from ravine.comparison._judge import (
    LOSS,
    STEPS,
    ConfirmationRun,
    Metric,
    OptimizerRuns,
    Values,
    compare,
    judge,
    overall,
    steps_to,
    target_of,
)
from ravine.comparison._judge.number_text import article, ratio_text
from ravine.errors import ComparisonError, OptionError

ACCURACY = Metric("accuracy", higher_is_better=True)


def study(rng, rates, *, seeds=10, evaluations=60, noise=0.1):
    """Arms whose loss falls as exp(-rate * step), each run at its own pace."""
    optimizers = []
    for name, rate in rates.items():
        runs = []
        for seed in range(seeds):
            steps = 50 * np.arange(1, evaluations + 1)
            pace = rate * np.exp(noise * rng.normal())
            losses = 0.3 + 2 * np.exp(-pace * steps) + 0.003 * rng.normal(size=evaluations)
            accuracy = 1 - losses[-1] / 3 + 0.001 * rng.normal()
            runs.append(ConfirmationRun(seed, steps, losses, losses[-1], {"accuracy": accuracy}))
        optimizers.append(OptimizerRuns(name, (), runs))
    return optimizers


def test_a_study_with_a_known_truth_is_judged_right():
    # The reference reaches its target late and only in half of its runs, by construction; sgd is far slower.
    optimizers = study(np.random.default_rng(0), {"Adam": 0.002, "RMSprop": 0.00201, "SGD": 0.0007})
    found = judge(optimizers, reference="Adam", metrics=[ACCURACY])
    assert found.headline == STEPS
    assert found.pairs.keys() == {"steps to target", "validation loss", "accuracy"}
    assert len(found.steps["SGD"].missed) == 10
    for name in ("accuracy", "validation loss"):
        assert {pair.first: pair.kind for pair in found.pairs[name]}["SGD"] == "worse"
    assert all(
        {pair.first, pair.second} != {"Adam", "RMSprop"} or pair.kind != "worse" for pair in found.pairs[STEPS.name]
    )
    assert found.sentence.count(". ") == 1
    assert "RMSprop are within noise of each other" in found.sentence or "Adam are within noise" in found.sentence
    assert found.sentence.endswith("SGD never reached the target in 10 runs.")


def test_the_ratio_of_steps_is_the_true_one():
    rng = np.random.default_rng(0)
    optimizers = study(rng, {"fast": 0.004, "slow": 0.002})
    steps = steps_to(0.5, optimizers)
    held = 0
    for _ in range(200):
        steps = steps_to(0.5, study(rng, {"fast": 0.004, "slow": 0.002}, seeds=6))
        [pair] = compare({name: s.values for name, s in steps.items()}, STEPS)
        assert pair.kind == "worse"
        held += np.exp(pair.low) <= 2 <= np.exp(pair.high)
    assert held / 200 > 0.9


@pytest.mark.parametrize("evaluations", [8, 60])
def test_equal_optimizers_are_called_equal_through_the_whole_pipeline(evaluations):
    rng, wrong, repeats = np.random.default_rng(1), 0, 200
    for _ in range(repeats):
        optimizers = study(rng, dict.fromkeys("abc", 0.001), seeds=6, evaluations=evaluations)
        steps = steps_to(target_of(optimizers[0]), optimizers)
        wrong += any(p.kind != "no difference shown" for p in compare({n: s.values for n, s in steps.items()}, STEPS))
    assert wrong / repeats <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_a_tie_stays_a_tie_in_the_sentence_too():
    rng, wrong, repeats = np.random.default_rng(1), 0, 150
    for _ in range(repeats):
        said = judge(study(rng, dict.fromkeys("abc", 0.001), seeds=6), reference="a").sentence
        wrong += not said.split(":")[0].endswith(("within noise of a", "within noise of b", "within noise of c"))
    assert wrong / repeats <= 0.06 + 3 * np.sqrt(0.06 * 0.94 / repeats)


def test_a_degenerate_target_is_said_and_losses_are_judged(make_optimizer):
    optimizers = [
        make_optimizer("adam", [[0.3, 0.3], [0.3, 0.3], [0.3, 0.3]]),
        make_optimizer("sgd", [[0.2, 0.41], [0.2, 0.4], [0.2, 0.4]]),
    ]
    found = judge(optimizers, reference="adam")
    assert found.target is None
    assert found.headline == LOSS
    assert found.warnings[0].kind == "target"
    assert "degenerate" in found.warnings[0].sentence
    assert found.sentence == "adam is best. sgd has a validation loss 0.1 higher."


def test_the_sentences_of_the_protocol():
    def steps(*numbers):
        return Values(dict(enumerate(np.log(numbers).tolist())))

    adam, rms = steps(200, 230, 210, 190, 220), steps(205, 220, 223, 187, 225)
    slow = steps(430, 440, 425, 415, 450)
    three = compare({"Adam": adam, "RMSprop": rms, "SGD": slow}, STEPS)
    more = next(pair.more_seeds for pair in three if pair.kind == "no difference shown")
    assert overall(three, "Adam") == (
        f"Adam and RMSprop are within noise of each other: {more} more seeds would settle it. "
        "SGD needs 2.1 times as many steps."
    )
    assert overall(compare({"SGD": slow}, STEPS), "SGD") == "Only SGD took part: there is nothing to compare it with."
    against = compare({"Adam": adam, "RMSprop": rms, "SGD": slow}, STEPS, against="SGD")
    assert (
        overall(against, "SGD")
        == "Adam needs 0.49 times as many steps and RMSprop needs 0.49 times as many steps as SGD."
    )
    many = {
        "Adam": adam,
        **{f"slow {i}": steps(*(np.array([430, 440, 425, 415, 450]) * (1 + i / 10))) for i in range(5)},
    }
    assert overall(compare(many, STEPS), "Adam") == (
        "Adam is best. slow 0, slow 1, slow 2, slow 3 and slow 4 need 2.1 to 2.9 times as many steps."
    )  # fmt: skip


def test_several_ties_are_told_with_the_seeds_of_the_easiest_and_the_hardest():
    def losses(*numbers):
        return Values(dict(enumerate(numbers)))

    best, near = losses(1.0, 1.1, 0.9, 1.05, 0.95), losses(1.02, 1.2, 0.88, 1.01, 1.0)
    nearer, same = losses(1.14, 0.95, 1.02, 1.0, 1.05), losses(1.1, 0.9, 1.05, 0.95, 1.0)
    pairs = compare({"a": best, "b": near, "c": nearer}, LOSS)
    seeds = sorted(pair.more_seeds for pair in pairs)
    assert 0 < seeds[0] < seeds[1] <= 1000
    said = f"{seeds[0]} to {seeds[1]} more seeds would settle it, depending on the pair."
    assert overall(pairs, pairs[0].second).endswith(said)
    pairs = compare({"a": best, "b": near, "d": same}, LOSS)
    assert "to more than 1,000 more seeds would settle it" in overall(pairs, pairs[0].second)


def test_an_optimizer_that_always_diverges_is_told_apart_and_is_never_within_noise(make_optimizer):
    good, near = make_optimizer("good", [[0.9, 0.5], [0.9, 0.6]]), make_optimizer("near", [[0.9, 0.51], [0.9, 0.59]])
    gone = make_optimizer("gone", [None, None])
    said = judge([good, near, gone], reference="good").sentence
    assert said.endswith("gone diverged in every run.")
    assert "gone" not in said.partition(":")[0]
    assert judge([good, gone], reference="good").sentence == "good is best. gone diverged in every run."


def test_the_same_runs_have_no_difference_at_all(make_optimizer):
    one, other = (make_optimizer(name, [[0.9, 0.5], [0.9, 0.6], [0.9, 0.7]]) for name in "ab")
    for pair in (pairs[0] for pairs in judge([one, other], reference="a").pairs.values()):
        assert (pair.difference, pair.low, pair.high, pair.kind) == (0, 0, 0, "no difference shown")
        assert "their means are equal on these seeds" in pair.sentence


def test_words_are_english():
    assert [ratio_text(value) for value in (2.13, 1.04, 0.998, 1.0004)] == ["2.1", "1.04", "0.998", "1"]
    assert [article(name) for name in ("accuracy", "validation loss")] == ["an accuracy", "a validation loss"]


def test_one_best_with_its_steps(make_optimizer):
    fast = make_optimizer("Adam", [[0.9, 0.5, 0.4], [0.9, 0.5, 0.41], [0.9, 0.5, 0.4], [0.9, 0.5, 0.4]])
    slow = make_optimizer("SGD", [[0.9, 0.8, 0.7]] * 4)
    found = judge([fast, slow], reference="Adam")
    assert found.steps["Adam"].missed == {1}
    assert found.sentence == (
        "Adam is best: it reaches the target in a median of 300 steps. SGD never reached the target in 4 runs."
    )


def test_seeds_that_cannot_be_paired_are_named(make_optimizer):
    a, b = make_optimizer("a", [[0.9, 0.5]] * 3), make_optimizer("b", [[0.9, 0.6]] * 4)
    found = judge([a, b], reference="a")
    assert "1 seed of b was not run" in next(w.sentence for w in found.warnings if w.kind == "seeds")


def test_a_name_that_does_not_exist_is_refused(make_optimizer):
    optimizers = [make_optimizer("adam", [[0.9, 0.5]] * 3), make_optimizer("sgd", [[0.9, 0.6]] * 3)]
    with pytest.raises(OptionError, match="Did you mean 'adam'"):
        judge(optimizers, reference="adams")
    with pytest.raises(OptionError, match="no metric 'loss'"):
        judge(optimizers, reference="adam", smallest={"loss": 0.1})
    with pytest.raises(ComparisonError, match="same name"):
        judge([optimizers[0], optimizers[0]], reference="adam")
    with pytest.raises(ComparisonError, match="no accuracy"):
        judge(optimizers, reference="adam", metrics=[ACCURACY])


def test_a_study_of_one_arm_says_so(make_optimizer):
    found = judge([make_optimizer("adam", [[0.9, 0.5], [0.9, 0.6]])], reference="adam")
    assert found.sentence == "Only adam took part: there is nothing to compare it with."
    assert found.pairs["validation loss"] == []
