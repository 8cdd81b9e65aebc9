"""Successive halving: who goes on, that a stopped point is the beginning of its training, and what a study makes of it.

The reference for the best of the first k points is a study that has only these.
"""

import hashlib
import json
import math
import random
from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest

from ravine.comparison._study.cost import TrainingSeconds, cost_of
from ravine.comparison._study.declare import declare
from ravine.comparison._study.halving import better_half, expected_going_on, going_on, most_going_on
from ravine.comparison._study.measured import measured_runs
from ravine.comparison._study.stacked_task import stacked_task
from ravine.comparison._study.stages import stage, stage_after
from ravine.comparison._study.study_progress import progress_of
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial, TrialResult, run
from ravine.comparison._study.trial_block import run_block
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.errors import OptionError
from ravine.optim._spec import parse, parse_all
from ravine.optim.search import Range
from ravine.tasks import find

SGD, ADAM = OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}), OptimizerConfig("adam", {"lr": Range(1e-5, 0.1)})
FIXED = OptimizerConfig("sgd:lr=0.1", {})
SPEC = StudySpec("digits", (SGD, ADAM), steps=10, points=8, looks=(5,), halving=True, expansions=0)


def given(value):
    return TrialResult(value, (0, 10), (9.0, value), not math.isfinite(value))


def luck(trial):
    """A loss that is luck alone: another one for the first quarter, the same for the same trial."""
    name = repr((trial.label, sorted(trial.point.items()), trial.seed, trial.kind))
    return random.Random(hashlib.sha256(name.encode()).digest()).uniform(0, 9)


def play(spec, loss=luck, done=None):
    """The last stage, all stages, and what was done."""
    done, stages = {} if done is None else done, []
    while (now := stage(spec, done)).name != "done":
        stages.append(now)
        done |= {trial.key(spec): given(loss(trial)) for trial in now.trials}
        assert len(stages) < 60
    return now, stages, done


def chosen(spec, done):
    return {(runs.name, run.seed): run.point for runs in StudyRecord(spec, done).runs for run in runs.runs}


# --- who goes on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "half"),
    [
        ([3.0], [0]),
        ([3.0, 2.0], [1]),
        ([2.0, 2.0, 2.0], [0, 1]),
        ([4.0, 1.0, 3.0, 2.0], [1, 3]),
        ([math.inf, 5.0, math.inf, math.inf], [1]),
        ([math.inf, 5.0, 4.0, math.inf], [1, 2]),
        ([math.inf, math.inf], []),
    ],
)
def test_the_better_half_is_rounded_up_and_has_a_loss(losses, half):
    assert better_half(losses) == half


def test_those_that_go_on_are_the_half_of_all_and_of_the_first_ones():
    # of 8: places 4 to 7; of the first 4: places 2 and 3; of the first 2 one is left, which needs no more
    assert going_on([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], (1, 2, 4, 8)) == [2, 3, 4, 5, 6, 7]
    assert going_on([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], (1, 2, 4, 8)) == [0, 1, 2, 3]
    assert going_on([2.0, 1.0], (1, 2)) == [1]


def test_how_many_go_on_is_the_mean_over_all_orders():
    for points, budgets in ((2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (7, (1, 2, 4))):
        counts = [len(going_on(order, budgets)) for order in permutations(map(float, range(points)))]
        assert expected_going_on(points, budgets) == pytest.approx(sum(counts) / len(counts), abs=0.06)
        assert most_going_on(points, budgets) >= max(counts)
    assert expected_going_on(8, (1, 2, 4, 8)) == pytest.approx(4 + 18 / 70, abs=0.04)
    assert most_going_on(8, (1, 2, 4, 8)) == 6


# --- trainings ---------------------------------------------------------------------------------------------------


@pytest.mark.slow  # trains each twice
@pytest.mark.parametrize("schedule", ["", "cosine"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("evaluations", [24, 5])
def test_a_stopped_training_is_the_beginning_of_the_whole_one(schedule, together, evaluations):
    task, optimizers = find("breast-cancer"), parse_all(["sgd", "adam"])
    spec = declare(task, "breast-cancer", optimizers, steps=22, schedule=schedule, halving=True)
    spec = replace(spec, evaluations=evaluations)
    ready, stacked = {one.label: one.for_task(task.name) for one in optimizers}, stacked_task(task)

    def train(trials):
        if together:
            return run_block(spec, stacked, trials, ready)
        return [run(spec, task, trial, ready[trial.label]) for trial in trials]

    trials = [Trial(label, {"lr": 0.05}, seed, "tune") for label in ready for seed in (0, 2)]
    whole, short = train(trials), train([replace(trial, kind="short") for trial in trials])
    for full, begun in zip(whole, short, strict=True):
        assert begun.steps == tuple(s for s in (*range(0, 6, -(-22 // evaluations)), 6)), "a quarter of 22, rounded up"
        assert begun.score == begun.losses[-1]
        assert (begun.diverged, begun.metrics) == (False, {})
        known = dict(zip(full.steps, full.losses, strict=True))
        shared = [(known[s], v) for s, v in zip(begun.steps, begun.losses, strict=True) if s in known]
        assert len(shared) >= 2
        assert all(a == b for a, b in shared), "to the last bit: the schedule is that of all steps"
    if evaluations == 24:
        assert begun.score == full.losses[6], "what a study without halving has measured there"


@pytest.mark.slow  # trains some dozen
def test_trainings_of_another_length_are_not_put_into_one_block():
    task, optimizers = find("breast-cancer"), parse_all(["sgd"])
    spec = declare(task, "breast-cancer", optimizers, steps=20, halving=True)
    runner = TrialRunner(spec, task, {"sgd": parse("sgd").for_task(task.name)})
    trials = [Trial("sgd", {"lr": 0.1}, seed, kind) for seed in range(3) for kind in ("tune", "short")]
    assert {trial.kind for trial in runner.next_block(trials)} == {"tune"}
    assert {trial.kind for trial in runner.next_block(trials[1:])} == {"short"}


# --- studies -----------------------------------------------------------------------------------------------------


def test_all_points_begin_and_the_better_half_goes_on():
    _, (first, second, fresh), done = play(replace(SPEC, points=4))
    assert Counter((t.label, t.seed, t.kind) for t in first.trials) == {
        (label, seed, "short"): 4 for label in ("sgd", "adam") for seed in range(0, 10, 2)
    }
    for label in ("sgd", "adam"):
        for seed in range(0, 10, 2):
            begun = sorted(luck(t) for t in first.trials if (t.label, t.seed) == (label, seed))
            on = [t for t in second.trials if (t.label, t.seed) == (label, seed)]
            assert sorted(luck(replace(t, kind="short")) for t in on) == begun[:2]
            assert {t.kind for t in on} == {"tune"}
    assert {t.kind for t in fresh.trials} == {"final"}
    assert len(done) == sum(len(now.trials) for now in (first, second, fresh))
    assert [now.name for now in (first, second, fresh)] == ["tune", "tune", "final"]


@pytest.mark.parametrize("points", [8, 6, 16])
def test_the_best_of_the_first_points_is_that_of_a_study_with_only_these(points):
    spec = replace(SPEC, points=points, looks=(12,))
    last, _, done = play(spec)
    runs = {each.name: each for each in measured_runs(spec, last.tunings, done, 12)}
    differ = 0
    for few in spec.budgets:
        alone = replace(spec, points=few)
        found = chosen(alone, play(alone)[2])
        for label, each in runs.items():
            for number, run_ in enumerate(each.runs):
                expected = found[label, spec.fresh_seed(number)]
                assert each.budget[few][number] == luck(Trial(label, expected, spec.fresh_seed(number), "final"))
                differ += expected != run_.point
    assert differ > 10


def test_what_is_stopped_is_not_the_best_whatever_it_would_have_become():
    spec = replace(SPEC, points=8)

    def loss(trial):  # the order turns round after the first quarter
        return 10 - trial.point["lr"] / 10 if trial.kind == "short" else 1 + trial.point["lr"] / 10

    last, _, done = play(spec, loss)
    for tuning, runs in zip(last.tunings, measured_runs(spec, last.tunings, done, 5), strict=True):
        for number, run_ in enumerate(runs.runs):
            rates = sorted(point["lr"] for point in tuning.points(number))
            assert run_.point["lr"] == rates[4], "the least rate of the half with the largest ones"
            assert runs.tuned[number] == 1 + rates[4] / 10, (
                "a score that was trained for only fewer points is none of all"
            )
            mine = [t for t in runs.trials if t.seed == spec.tuning_seed(number)]
            assert sorted(t.point["lr"] for t in mine if t.stopped) == rates[:4]
            assert len(mine) == 8
            assert not any(t.diverged for t in mine)


def test_a_point_that_is_trained_for_fewer_points_only_is_told_as_stopped():
    found = 0
    last, _, done = play(replace(SPEC, looks=(80,)))
    for tuning, runs in zip(last.tunings, measured_runs(SPEC, last.tunings, done, 80), strict=True):
        for number in range(80):
            short = [luck(Trial(tuning.config.label, p, 2 * number, "short")) for p in tuning.points(number)]
            full = [Trial(tuning.config.label, p, 2 * number, "tune") for p in tuning.points(number)]
            trained = [place for place, trial in enumerate(full) if trial.key(SPEC) in done]
            among_all = better_half(short)
            extra = set(trained) - set(among_all)
            assert trained == sorted({*among_all, *better_half(short[:4])})
            tried = tuning.tried(SPEC, number, done)
            assert [place for place, one in enumerate(tried) if not one.stopped] == among_all
            for place, one in enumerate(tried):
                assert one.loss == (luck(full[place]) if place in among_all else short[place])
            best = min(among_all, key=lambda place: luck(full[place]))
            assert tuning.best(SPEC, number, done) == tuning.points(number)[best]
            assert runs.tuned[number] == luck(full[best]), "not what a stopped one had after a quarter"
            found += any(luck(full[place]) < luck(full[best]) for place in extra)
    assert found > 3, "some of them end lower than all that were chosen"


def test_points_that_diverge_are_trained_no_more():
    def loss(trial):
        return math.inf if trial.point["lr"] > 0.05 else luck(trial)

    last, (_, second, _), done = play(SPEC, loss)
    assert all(trial.point["lr"] <= 0.05 for trial in second.trials)
    runs = measured_runs(SPEC, last.tunings, done, 5)[0]
    for trial in runs.trials:
        assert trial.diverged == (trial.point["lr"] > 0.05)
        assert not (trial.diverged and trial.stopped)
    _, stages, done = play(SPEC, lambda trial: math.inf)
    assert [now.name for now in stages] == ["tune", "final"], "nothing goes on"
    for tuning in last.tunings:
        assert chosen(SPEC, done) == {} or chosen(SPEC, done)[tuning.config.label, 1] == tuning.points(0)[0]


def test_what_is_fixed_has_one_training():
    spec = replace(SPEC, optimizers=(FIXED, SGD))
    _, stages, _ = play(spec)
    mine = [t for now in stages for t in now.trials if t.label == FIXED.label]
    assert Counter(t.kind for t in mine) == {"tune": 5, "final": 5}


@pytest.mark.parametrize("seed", range(3))
def test_halved_stages_do_not_depend_on_the_order_in_which_trials_end(seed):
    again = replace(SGD, label="momentum")
    spec = replace(SPEC, optimizers=(SGD, ADAM, again, FIXED), looks=(3, 6), expansions=2, extra_points=2, margin="0")

    def loss(trial):  # for adam the best is beyond the edge
        return luck(trial) + (-30 * math.log10(trial.point["lr"]) if trial.label == "adam" else 0)

    _, stages, straight = play(spec, loss)
    assert "expand" in [now.name for now in stages]
    draw, done, now = random.Random(seed), {}, None
    while (now := stage_after(spec, now, done)).name != "done":
        told = stage(spec, done)
        assert (told.name, told.trials, told.total, told.seeds) == (now.name, now.trials, now.total, now.seeds)
        for trial in draw.sample(now.trials, draw.randint(1, len(now.trials))):
            done[trial.key(spec)] = given(loss(trial))
        done = dict(draw.sample(list(done.items()), len(done)))
    assert done == straight
    record = StudyRecord(spec, done)
    assert len(record.trials) == len(done), "all that was trained is told"
    assert {len(each.runs) for each in record.runs} == {6}
    for each in record.runs[:3]:
        points = len(each.trials) // len(each.runs)
        assert points > 8
        assert sum(not t.stopped for t in each.trials) == len(each.runs) * -(-points // 2)
    assert record.judge().ranked


def test_more_seeds_go_on_and_another_kind_of_study_is_refused():
    _, _, done = play(SPEC)
    longer = replace(SPEC, looks=(8,)).joined_to(SPEC)
    _, stages, _ = play(longer, done=done)
    assert min(t.seed for now in stages for t in now.trials) == 10, "nothing is trained again"
    full = replace(SPEC, halving=False)
    assert full.joined_to(SPEC) is None
    assert full.differences(SPEC) == ["halving: True in the study, False now"]
    assert SPEC.differences(full) == ["halving: False in the study, True now"]
    assert full.hash != SPEC.hash
    assert StudySpec.from_json(SPEC.to_json()) == SPEC
    assert "halving" not in json.loads(full.to_json()), "studies without it keep their hash"


# --- how much it takes -------------------------------------------------------------------------------------------


def test_progress_and_cost_count_short_trainings():
    spec = replace(SPEC, optimizers=(SGD, FIXED), steps=1000, evaluations=9, looks=(4,))
    of_seed = 8 + expected_going_on(8, spec.budgets) + 1 + 3 / 2
    first = stage(spec, {})
    assert progress_of(spec, first, {}).total == round(4 * (of_seed + 2))
    begun = {t.key(spec): given(luck(t)) for t in first.trials}
    _, _, done = play(spec)
    assert progress_of(spec, stage(spec, begun), begun).total == pytest.approx(len(done), abs=6)

    task = find("breast-cancer")
    optimizers = {label: parse(label) for label in ("sgd", FIXED.label)}
    seconds = TrainingSeconds(1.0, 0.1, 2.0)
    cost = cost_of(spec, task, optimizers, 1, time_training=lambda *_: seconds)
    assert cost.trainings == (round(4 * (of_seed + 2)),) * 2
    whole, short = 0.004 + 1 + 100 + 10 * 2, 0.004 + 1 + 25 + (1 + 9 / 4) * 2
    assert cost.seconds[1] == pytest.approx(4 * (8 * short + (of_seed - 8 + 2) * whole))
    assert cost.at_most == 4 * (8 + 6 + 4 + 2)
    assert cost_of(spec, task, optimizers, 1, time_training=lambda *_: seconds).at_most >= cost.trainings[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"points": 1}, "halving with points = 1"),
        ({"steps": 3}, "halving with steps = 3"),
        ({"halving": "yes"}, "halving = 'yes': give True or False"),
    ],
)
def test_what_cannot_be_halved_is_refused(options, said):
    with pytest.raises(OptionError, match=said):
        declare(find("breast-cancer"), "breast-cancer", parse_all(["sgd", "adam"]), **{"halving": True, **options})
