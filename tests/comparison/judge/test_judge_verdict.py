"""The whole judgement: studies of known truth, whatever the order, and what it refuses."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge import LOSS, FreshRun, Metric, OptimizerRuns, TuningTrial, compare_losses, judge
from ravine.comparison._judge.critical_values import critical_values
from ravine.errors import ComparisonError

ACCURACY = Metric("accuracy", higher_is_better=True)


def study(rng, rates, *, tunings=10, evaluations=60, noise=0.1):
    """Optimizers whose loss falls as exp(-rate * step), each run at its own pace; half of the pace is the seed's."""
    steps = 50 * np.arange(evaluations + 1)
    seeds = {kind: rng.standard_normal(tunings) for kind in ("tuning", "fresh")}

    def curve(rate, shared):
        pace = rate * np.exp(noise * (shared + rng.standard_normal()) / np.sqrt(2))
        return 0.3 + 2 * np.exp(-pace * steps) + 0.003 * rng.standard_normal(len(steps))

    optimizers = []
    for name, rate in rates.items():
        trials, runs = [], []
        for number in range(tunings):
            for share in (0.5, 0.9, 1.0):
                score = curve(share * rate, seeds["tuning"][number])[-1]
                trials.append(TuningTrial({"lr": share}, 1000 + number, score))
            losses = curve(rate, seeds["fresh"][number])
            accuracy = {"accuracy": 1 - losses[-1] / 3}
            runs.append(FreshRun(number, steps, losses, losses[-1], accuracy, point={"lr": 1.0}))
        optimizers.append(OptimizerRuns(name, trials, runs, {1: [r.score for r in runs]}))
    return optimizers


RATES = {"adam": 0.0012, "rmsprop": 0.00121, "sgd": 0.0007, "adagrad": 0.0004}


def test_a_study_with_a_known_truth_is_judged_right():
    found = judge(study(np.random.default_rng(0), RATES), metrics=[ACCURACY])
    assert set(found.losses.top) == {"adam", "rmsprop"}
    assert set(found.losses.others) == {"sgd", "adagrad"}
    assert found.ranked[2:] == ["sgd", "adagrad"]
    assert list(found.compared) == ["validation loss", "accuracy"]
    assert set(found.compared["accuracy"].with_best.others) == {"sgd", "adagrad"}
    assert found.compared["accuracy"].metric is ACCURACY
    assert len(found.steps["adagrad"].missed) == 10
    assert found.steps["adagrad"].reached_text == "0 of 10"
    assert found.budget.keys() == RATES.keys()


@pytest.mark.slow  # simulates studies
def test_equal_optimizers_are_called_equal_through_the_whole_pipeline():
    rng, wrong, repeats = np.random.default_rng(1), 0, 300
    for _ in range(repeats):
        wrong += bool(judge(study(rng, dict.fromkeys("abc", 0.001), tunings=5, evaluations=10)).losses.others)
    assert wrong / repeats <= 0.05 + 0.025


def test_the_order_of_the_optimizers_changes_nothing():
    optimizers = study(np.random.default_rng(2), RATES, tunings=6)
    optimizers[3] = OptimizerRuns("adagrad", optimizers[3].trials, [_lost(run) for run in optimizers[3].runs])
    options = {"metrics": [ACCURACY], "looks": (3, 6), "margin": "5%"}
    wanted = judge(optimizers, **options)
    for order in list(permutations(optimizers))[1:]:
        found = judge(order, **options)
        assert found.sentence == wanted.sentence
        assert found.ranked == wanted.ranked
        assert found.target == wanted.target
        assert found.compared == wanted.compared
        assert {note.sentence for note in found.warnings} == {note.sentence for note in wanted.warnings}


def _lost(run):
    return FreshRun(run.seed, [0], run.losses[:1], np.nan, diverged=True, point=run.point)


@pytest.mark.parametrize("other", ["far ahead", "diverged"])
def test_what_is_said_of_two_is_the_same_beside_any_third(make_optimizer, other):
    """By the interval of their difference; how wide it is depends on how many are compared."""
    rng = np.random.default_rng(3)
    a, b = make_optimizer("a", rng.normal(0.5, 0.01, 10)), make_optimizer("b", rng.normal(0.6, 0.01, 10))
    third = {"far ahead": rng.normal(0.1, 0.01, 10), "diverged": [None] * 10}[other]
    usual = judge([a, b, make_optimizer("c", rng.normal(0.55, 0.01, 10))], target=0.5)
    found = judge([a, b, make_optimizer("c", third)], target=0.5)
    assert found.losses.pairs["a", "b"] == usual.losses.pairs["a", "b"]
    assert found.steps["a"].steps == usual.steps["a"].steps


def test_one_that_misses_the_target_in_most_runs_never_stands_above_one_that_reaches_it(make_optimizer):
    """Even with the lower mean loss: two runs far below, three just above the target."""
    lucky = make_optimizer("lucky", [0.01, 0.01, 0.51, 0.52, 0.51])
    solid = make_optimizer("solid", [0.49, 0.48, 0.49, 0.48, 0.49])
    found = judge([lucky, solid], target=0.5)
    assert found.losses.standing("lucky").difference < 0 < found.losses.standing("solid").difference
    assert found.ranked == ["solid", "lucky"] == [s.name for s in found.losses.standings]
    assert found.sentence.startswith("Either solid or lucky may be the best.")
    assert not found.losses.by_difference
    assert judge([lucky, solid], target=0.505).ranked == ["solid", "lucky"]
    half = make_optimizer("half", [0.01, 0.01, 0.51, 0.52])  # half of the runs are not most
    assert judge([half, make_optimizer("solid", [0.49, 0.48, 0.49, 0.48])], target=0.5).ranked == ["half", "solid"]
    assert judge([lucky, solid], target=0.005).ranked == ["lucky", "solid"]  # nobody reaches it


def test_one_that_alone_is_the_best_comes_first_and_what_it_missed_is_said(make_optimizer):
    """Its runs end lower than those of the other, which were below the target for a moment."""
    rng = np.random.default_rng(7)
    steady = make_optimizer("steady", rng.normal(0.52, 0.002, 5))
    dips = make_optimizer("dips", [[2.0, 0.49, end] for end in rng.normal(0.6, 0.002, 5)])
    also = make_optimizer("also", rng.normal(0.7, 0.002, 5))
    for order in permutations([steady, dips, also]):
        found = judge(order, target=0.5)
        assert found.sentence.startswith("steady is the best: ")
        assert found.ranked == ["steady", "dips", "also"] == [s.name for s in found.losses.standings]
        assert [(w.kind, w.optimizer, w.sentence) for w in found.warnings if w.kind == "target"] == [
            ("target", "steady", "steady is the best by its loss at the end, but missed the target in 5 of 5 runs.")
        ]
    nobody = judge([steady, also], target=0.4)
    assert nobody.ranked == ["steady", "also"]
    assert nobody.warnings == []


def test_ranks_the_target_and_the_answer_agree_in_simulated_studies():
    """Whoever stands above another reaches the target as well as it, or is the one that the answer calls the best."""
    rng, seen = np.random.default_rng(4), set()
    for noise in [0.2, 1.0] * 30:
        rates = {name: 0.001 * np.exp(0.3 * rng.standard_normal()) for name in "abcde"}
        found = judge(study(rng, rates, tunings=5, evaluations=20, noise=noise), target=1.0)
        losses = found.losses
        reaches = {name: len(taken.reached) >= 3 for name, taken in found.steps.items()}
        for above, below in combinations(found.ranked, 2):
            if found.sentence.startswith(f"{above} is the best"):
                seen.add("best")
            elif reaches[above] != reaches[below]:
                seen.add(
                    "moved" if losses.standing(above).difference > losses.standing(below).difference else "reached"
                )
                assert reaches[above]
            else:
                assert above in losses.top or below in losses.others
                if (above in losses.top) == (below in losses.top):
                    assert losses.standing(above).difference < losses.standing(below).difference
    assert seen == {"best", "moved", "reached"}


def test_what_was_planned_is_paid_for_and_one_that_is_out_needs_no_more_runs(make_optimizer):
    rng = np.random.default_rng(5)
    a, b, c = rng.normal(0.5, 0.01, 10), rng.normal(0.5, 0.01, 10), rng.normal(0.9, 0.01, 5)
    optimizers = [make_optimizer(name, each) for name, each in zip("abc", (a, b, c), strict=True)]
    found = judge(optimizers, looks=(5, 10), target=0.6)
    assert found.losses.looks == (5, 10)
    assert found.losses.standing("c").runs == 5
    assert found.losses == compare_losses(optimizers, looks=(5, 10))
    one_look = compare_losses([make_optimizer("a", a), make_optimizer("b", b)])
    two_looks = compare_losses([make_optimizer("a", a), make_optimizer("b", b)], looks=(5, 10))
    assert two_looks.pairs["a", "b"][1] < one_look.pairs["a", "b"][1]


def test_tunings_after_the_first_look_move_neither_margin_nor_target(make_optimizer):
    """Else a later look would ask another question than the first."""
    rng = np.random.default_rng(8)
    first = {name: 0.5 + 0.1 * rng.standard_normal(2) for name in "ab"}

    def found(later):
        optimizers = [
            make_optimizer(name, [*rng.normal(0.5, 0.3, 2), *later], [*scores, *later])
            for name, scores in first.items()
        ]
        return judge(optimizers, looks=(2, 4))

    wanted = max(float(np.median(scores)) for scores in first.values())  # the middle one of two is the higher
    better = min(first.values(), key=np.median)
    for later in ([0.1, 0.9], [0.4, 0.4]):
        judged = found(later)
        assert judged.target.loss == pytest.approx(wanted)
        assert judged.losses.margin == pytest.approx(np.std(better, ddof=1))


def test_a_metric_is_judged_at_the_looks_and_level_of_the_losses(make_optimizer):
    rng = np.random.default_rng(9)
    a, b = rng.normal(0.9, 0.01, 10), rng.normal(0.9, 0.01, 10)
    optimizers = [
        make_optimizer(name, 1 - each, metrics={"accuracy": each}) for name, each in zip("ab", (a, b), strict=True)
    ]
    found = judge(optimizers, metrics=[ACCURACY], looks=(5, 10), alpha=0.01, target=0.1)
    accuracy = found.compared["accuracy"].with_best
    assert (accuracy.looks, accuracy.alpha) == ((5, 10), 0.01) == (found.losses.looks, found.losses.alpha)
    _, low, high = accuracy.pairs["a", "b"]
    assert (high - low) / 2 == pytest.approx(critical_values(2, (5, 10), 0.01)[2, 1] * stats.sem(a - b))


def test_a_constant_difference_of_nothing_is_not_better_by_more_than_matters(make_optimizer):
    losses = np.random.default_rng(6).normal(0.5, 0.01, 10)
    a, b = make_optimizer("a", losses), make_optimizer("b", losses + 3e-6)
    found = judge([a, b], margin="0.001", target=0.5)
    assert found.losses.top == ["a"]
    assert found.losses.standing("b").equivalent
    assert found.sentence.startswith("a and b are equivalent: their validation losses are within 0.001 of each other; ")


@pytest.mark.parametrize(
    ("runs", "lost", "equivalent"), [(7, 4, False), (7, 3, True), (8, 5, True), (5, 3, False), (5, 0, True)]
)
def test_few_runs_of_which_most_diverged_are_not_called_equivalent(make_optimizer, runs, lost, equivalent):
    losses = np.random.default_rng(10).normal(0.5, 0.001, runs)
    a = make_optimizer("a", [*[None] * lost, *losses[lost:]])
    b = make_optimizer("b", [*[None] * lost, *losses[::-1][lost:]])
    found = compare_losses([a, b], margin="0.5")
    assert found.settled == equivalent
    assert any(s.equivalent for s in found.standings) == equivalent
    assert found.margin == (0.5 if equivalent else 0.0)
    said = [w.sentence for w in judge([a, b], margin="0.5", target=0.1).warnings]
    assert any("Nobody is called equivalent" in sentence for sentence in said) != equivalent


def test_one_that_always_diverges_takes_nothing_from_those_that_are_equivalent(make_optimizer):
    losses = np.random.default_rng(11).normal(0.5, 0.001, (2, 5))
    optimizers = [make_optimizer(name, each) for name, each in zip("ab", losses, strict=True)]
    found = compare_losses([*optimizers, make_optimizer("lost", [None] * 5)], margin="0.1")
    assert found.settled
    assert {s.name for s in found.standings if s.equivalent} == {"a", "b"}


@pytest.mark.parametrize(
    ("start", "margin", "other", "sentence"),
    [
        (0.3, "0", "not the best", "Nobody can be called the best: gone diverged in every run."),
        (0.5, "0.1", "may be the best", "sgd may be the best. gone diverged in every run."),
    ],
)
def test_one_none_of_whose_runs_ended_is_neither_the_best_nor_equivalent(
    make_optimizer, start, margin, other, sentence
):
    """It counts as it began, which may be as low as where others end, or lower."""
    losses = np.random.default_rng(12).normal(0.5005, 0.001, 8)
    optimizers = make_optimizer("gone", [None] * 8, start=start), make_optimizer("sgd", losses)
    found = judge(optimizers, margin=margin, target=0.1)
    gone, sgd = found.losses.standing("gone"), found.losses.standing("sgd")
    assert gone.difference < 0 < sgd.difference
    assert (gone.verdict, gone.equivalent, sgd.verdict) == ("diverged in every run", False, other)
    assert found.ranked == ["sgd", "gone"]
    assert (found.losses.best, found.losses.diverged) == (None, ["gone"])
    assert found.sentence == sentence


def test_the_same_runs_have_no_difference_at_all(make_optimizer):
    one, other = (make_optimizer(name, [0.5, 0.6, 0.7]) for name in "ab")
    found = judge([one, other], target=0.55)
    assert found.losses.pairs["a", "b"] == (0, 0, 0)
    assert found.losses.settled
    assert found.losses.top == ["a", "b"]


def test_a_degenerate_target_is_said_and_losses_are_judged(make_optimizer):
    adam, sgd = make_optimizer("adam", [0.30, 0.31, 0.30]), make_optimizer("sgd", [0.41, 0.41, 0.40])
    found = judge([adam, sgd], target=1.0)
    assert found.target is None
    assert found.steps == {}
    assert found.warnings[0].kind == "target"
    assert "degenerate" in found.warnings[0].sentence
    assert found.losses.top == ["adam"]


def test_seeds_that_not_all_have_are_left_out_and_named(make_optimizer):
    a = make_optimizer("a", [0.5, 0.6, 0.7, 0.8])
    b = OptimizerRuns("b", (), [run for run in make_optimizer("b", [0.5, 0.6, 0.7, 0.8]).runs if run.seed != 1])
    found = judge([a, b], target=0.55)
    assert found.losses.pairs["a", "b"] == (0, 0, 0)  # paired by place they would differ
    [note] = [note for note in found.warnings if note.kind == "seeds"]
    assert note.sentence == "Only seeds that every optimizer has are compared: 1 run left out."


def test_what_does_not_fit_is_refused(make_optimizer):
    adam, sgd = make_optimizer("adam", [0.5] * 3), make_optimizer("sgd", [0.6] * 3)
    with pytest.raises(ComparisonError, match="same name"):
        judge([adam, adam])
    with pytest.raises(ComparisonError, match="no accuracy"):
        judge([adam, sgd], metrics=[ACCURACY])
    with pytest.raises(ComparisonError, match="nothing to compare"):
        compare_losses([adam])
    with pytest.raises(ComparisonError, match="the first look needs 5"):
        judge([adam, sgd], looks=(5, 10))


def test_one_alone_is_compared_with_nobody(make_optimizer):
    found = judge([make_optimizer("adam", [0.5, 0.6])], target=0.55)
    assert found.sentence == "Only adam took part: there is nothing to compare it with."
    assert found.losses is None
    assert LOSS.name not in found.compared
