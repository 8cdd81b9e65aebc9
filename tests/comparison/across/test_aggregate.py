"""Several tasks together: the scale, the answer, and what to take with few points."""

from dataclasses import replace

import numpy as np
import pytest

from ravine.comparison._across import TaskScores, aggregate, task_scores
from ravine.comparison._across.few_points import few_points_of
from ravine.comparison._judge import FreshRun, OptimizerRuns, TuningTrial, judge
from ravine.errors import ComparisonError


def optimizer(name, ends, tuned, budget=None):
    """Runs from a loss of 2 to these; None diverged."""
    runs = [
        FreshRun(seed, [0, 50, 100], [2.0, np.nan, np.nan] if end is None else [2.0, (2 + end) / 2, end],
                 np.inf if end is None else end, {}, end is None)
        for seed, end in enumerate(ends)
    ]  # fmt: skip
    trials = [TuningTrial({"lr": 1.0}, 1000 + i, score) for i, score in enumerate(tuned)]
    return OptimizerRuns(name, trials, runs, budget or {})


def test_the_scale_is_that_of_the_tunings():
    """0 at the loss before training, 1 at the lowest median of tuning scores, which no judged run decides."""
    arms = [optimizer("a", [1.0, 0.5], [0.9, 1.1]), optimizer("b", [2.5, None], [1.5, 1.5])]
    found = task_scores("t", arms, judge(arms, looks=(2,)))
    assert (found.start, found.best) == (2.0, 1.0)
    assert found.scores["a"].tolist() == [1.0, 1.5]
    assert found.scores["b"].tolist() == [0.0, 0.0], "above its start, and diverged"
    first = task_scores("t", arms, judge(arms, looks=(2,)), tunings=1)
    assert first.best == 0.9


def test_the_margin_is_on_the_same_scale():
    """From 2 to .5 is a score of 1: a loss of .3 is a fifth of it; of ratios on the logarithm."""
    arms = [optimizer("a", [1.0, 0.5], [0.5, 0.5]), optimizer("b", [1.5, 1.0], [1.0, 1.0])]
    assert task_scores("t", arms, judge(arms, margin="0.3")).margin == pytest.approx(0.2)
    found = task_scores("t", arms, judge(arms, margin="100%", ratio=True), ratio=True)
    assert found.margin == pytest.approx(0.5), "of a factor of 4 a factor of 2"


def test_a_test_function_has_a_scale_of_ratios():
    arms = [optimizer("a", [2e-4, 2e-2], [2e-4, 2e-4]), optimizer("b", [0.2, 0.2], [0.2, 0.2])]
    found = task_scores("t", arms, judge(arms, looks=(2,), ratio=True), ratio=True)
    assert found.scores["a"] == pytest.approx([1.0, 0.5])
    assert found.scores["b"] == pytest.approx([0.25, 0.25])


def test_points_of_a_budget_are_on_the_same_scale_and_what_is_not_tuned_stays():
    arms = [optimizer("a", [1.0, 1.0], [1.0, 1.0], {1: [1.5, np.inf], 2: [1.0, 1.0]}), optimizer("b", [1.5, 2], [])]
    found = task_scores("t", arms, judge(arms, looks=(2,)))
    assert found.budget[1]["a"].tolist() == [0.5, 0.0]
    assert found.budget[1]["b"].tolist() == found.scores["b"].tolist() == [0.5, 0.0]


def test_where_nobody_learns_there_is_no_scale():
    arms = [optimizer(name, [2.1, 2.2], [2.5, 2.5]) for name in "ab"]
    with pytest.raises(ComparisonError, match="On t no optimizer ends below the loss"):
        task_scores("t", arms, judge(arms, looks=(2,)))


def test_one_that_diverged_in_every_run_of_every_task_is_not_recommended():
    """With few runs its interval reaches those of others, and where they learn little it may even be the lowest."""
    arms = [
        optimizer("a", [1.0, 1.9], [1.0, 1.0], {1: [1.0, 1.9]}),
        optimizer("gone", [None, None], [], {1: [np.inf] * 2}),
    ]
    lost = task_scores("t", arms, judge(arms, looks=(2,)))
    assert lost.diverged == {"gone"}
    found = aggregate([lost, replace(lost, task="u")])
    assert found.with_best.diverged == ["gone"]
    assert found.with_best.standing("gone").low < 0, "nobody would be told apart"
    assert "gone diverged in every run." in found.sentence
    assert found.sentence.endswith("for any number of points per tuning: a.")
    assert found.few_points[1].with_best.top == ["a"]
    ended = replace(lost, task="u", diverged=frozenset())
    assert aggregate([lost, ended]).with_best.top == ["a", "gone"], "on one of them it did not"
    nobody = {"a": np.array([-0.1, -0.101]), "gone": np.array([0.5, 0.5])}
    none = aggregate([replace(lost, scores=nobody, budget={1: nobody})])
    assert none.sentence == "Over 1 task: Nobody can be called the best: gone diverged in every run."


def scores(levels, rng, runs=8, spread=0.01):
    return {name: level + spread * rng.normal(size=runs) for name, level in levels.items()}


def tasks_of(*levels, few=None):
    rng = np.random.default_rng(1)  # the same whichever tests ran before; a few in a hundred, as 0, tell equals apart
    return [
        TaskScores(
            f"task{i}",
            scores(level, rng),
            {k: scores(of_k, rng) for k, of_k in (few or {}).items()},
            {name: np.full(8, 100.0) for name in level},
        )
        for i, level in enumerate(levels)
    ]


def test_the_first_sentence_is_the_answer():
    few = {1: {"a": 0.3, "b": 0.6, "c": 0.1}, 2: {"a": 0.3, "b": 0.6, "c": 0.1}, 4: {"a": 0.9, "b": 0.7, "c": 0.1}}
    found = aggregate(tasks_of(*[{"a": 0.9, "b": 0.7, "c": 0.1}] * 3, few=few))
    assert found.sentence.startswith("Over 3 tasks: a is the best: its normalized score is 0.")
    assert found.sentence.endswith(
        "On these tasks, with few points to tune: with 1 to 2 points, b; with 4 or more points, a."
    )
    assert found.unseen.startswith("If other tasks are like these 3, a is the best on average over them, too.")
    assert found.ranked == ["a", "b", "c"]
    assert found.ranks == {"a": (1, 1), "b": (2, 2), "c": (3, 3)}
    assert found.improvement["a", "b"].value == 1
    assert found.interquartile["a"].value == pytest.approx(0.9, abs=0.01)


def test_what_is_not_told_apart_is_said():
    same = {1: {"a": 0.5, "b": 0.5, "c": 0.1}, 2: {"a": 0.9, "b": 0.9, "c": 0.1}}
    found = aggregate(tasks_of(*[{"a": 0.9, "b": 0.9, "c": 0.1}] * 2, few=same))
    assert "may be the best; c is not" in found.sentence
    assert "On these tasks, for any number of points per tuning: " in found.sentence
    assert "may be as good)." in found.sentence
    assert found.unseen.startswith("2 tasks are too few")


def test_tasks_that_disagree_say_nothing_of_others():
    """Each is sure of its best; the tasks are not."""
    found = aggregate(tasks_of({"a": 0.9, "b": 0.5}, {"a": 0.8, "b": 0.9}, {"a": 0.9, "b": 0.7}))
    assert found.with_best.top == ["a"], "over these tasks"
    assert len(found.like_these.top) == 2
    assert "3 tasks are too few" in found.unseen
    one = aggregate(tasks_of({"a": 0.9, "b": 0.5}))
    assert one.unseen == "One task says nothing about others."
    assert "point" not in one.sentence, "nothing was tuned"


def test_what_the_choice_of_all_other_tasks_loses():
    tasks = [{"a": np.full(3, a), "b": np.full(3, b)} for a, b in ((0.9, 0.5), (0.6, 0.7), (0.8, 0.7))]
    few = few_points_of(["x", "y", "z"], {4: tasks}, 0.0)[4]
    assert few.choice == "a"
    # x: y and z choose a (0.7 and 0.7 tie, the first), which is the best there; y: a, which loses 0.1; z: a
    assert few.lost == pytest.approx({"x": 0.0, "y": 0.1, "z": 0.0})
    assert few.loses


def test_a_loss_within_the_margin_or_its_error_is_not_told():
    tasks = [{"a": np.full(3, a), "b": np.full(3, b)} for a, b in ((0.9, 0.5), (0.6, 0.7), (0.8, 0.7))]
    names = ["x", "y", "z"]
    assert not few_points_of(names, {4: tasks}, 0.2)[4].loses
    noise = np.array([-0.5, 0.0, 0.5])  # of the difference 0.1 on y the standard error is 0.29
    noisy = [tasks[0], {"a": tasks[1]["a"] + noise, "b": tasks[1]["b"]}, tasks[2]]
    assert few_points_of(names, {4: noisy}, 0.0)[4].lost["y"] == pytest.approx(0.1)
    assert not few_points_of(names, {4: noisy}, 0.0)[4].loses
    told = [
        aggregate([TaskScores(n, t, {4: t}, margin=margin) for n, t in zip(names, tasks, strict=True)]).unseen
        for margin in (0.0, 0.2)
    ]
    assert ["Choosing by all tasks but one loses" in text for text in told] == [True, False]


def test_the_level_is_that_of_the_tasks_looks():
    tasks = tasks_of(*[{"a": 0.9, "b": 0.9, "c": 0.9}] * 2, few={1: {"a": 0.9, "b": 0.9, "c": 0.9}})
    once = aggregate(tasks)
    often = aggregate([tasks[0], replace(tasks[1], looks=(4, 6, 8))])
    for one, more in ((once.with_best, often.with_best), (once.few_points[1].with_best, often.few_points[1].with_best)):
        assert all(more.standing(n).high > one.standing(n).high for n in "abc")


def test_a_task_without_a_target_is_in_no_profile():
    tasks = tasks_of(*[{"a": 0.9, "b": 0.5}] * 2)
    without = TaskScores("odd", tasks[1].scores)
    found = aggregate([tasks[0], without])
    assert found.notes == ["There is no target on odd, so profiles leave it out."]
    assert found.profiles["a"].reached.value == 1
    assert aggregate([without]).profiles == {}
    with pytest.raises(ComparisonError, match="No task has a verdict to combine"):
        aggregate([])
