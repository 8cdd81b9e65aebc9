"""Which trainings are needed: a tuning and fresh runs for every seed, looks, and who drops out. Outcomes are made up."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from ravine.comparison._study.measured import measured_runs
from ravine.comparison._study.stages import stage, stage_after
from ravine.comparison._study.study_progress import progress_of
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.optim.search import Range

SGD, ADAM = OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}), OptimizerConfig("adam", {"lr": Range(1e-5, 0.1)})
THIRD = OptimizerConfig("rmsprop", {"lr": Range(1e-5, 0.1)})
SPEC = StudySpec("digits", (SGD, ADAM), steps=10, points=4, looks=(3,))
MIDDLES = {"sgd": 0.1, "adam": 1e-3, "rmsprop": 1e-3}


def given(value):
    """What a trial with that loss gave; every training begins at 9."""
    return TrialResult(value, (0, 10), (9.0, value), not math.isfinite(value))


def play(spec, loss, done=None):
    """Do what is needed until nothing is; the last stage, all trials by stage, and what they gave."""
    done, stages = {} if done is None else done, []
    while True:
        now = stage(spec, done)
        if now.name == "done":
            return now, stages, done
        stages.append((now.name, now.trials))
        done |= {trial.key(spec): given(loss(trial)) for trial in now.trials}
        assert len(stages) < 40


def noise(trial, size):
    """Noise of a training: the same for the same one."""
    name = repr((trial.label, sorted(trial.point.items()), trial.seed, trial.kind))
    return size * random.Random(hashlib.sha256(name.encode()).digest()).gauss(0, 1)


def valley(best=MIDDLES, above=(), size=0.0):
    """A loss with its minimum at a rate for each optimizer, moved up for some."""
    return lambda trial: (
        1
        + abs(math.log10(trial.point["lr"] / best[trial.label]))
        + dict(above).get(trial.label, 0)
        + noise(trial, size)
    )


def rates(trials, label, seed, kind="tune"):
    return [t.point["lr"] for t in trials if (t.label, t.seed, t.kind) == (label, seed, kind)]


# --- what is trained ---------------------------------------------------------------------------------------------


def test_every_seed_tunes_anew_and_trains_the_best_of_the_first_1_2_and_4_points():
    loss = valley()
    last, stages, done = play(SPEC, loss)
    assert [name for name, _ in stages] == ["tune", "final"]
    tune, fresh = (trials for _, trials in stages)
    assert Counter((t.label, t.seed, t.kind) for t in tune) == {
        (label, seed, "tune"): 4 for label in ("sgd", "adam") for seed in (0, 2, 4)
    }
    expected = []
    for number in range(3):
        for label in ("sgd", "adam"):
            tried = rates(tune, label, 2 * number)
            assert len(set(tried)) == 4
            far = [abs(math.log10(rate / MIDDLES[label])) for rate in tried]
            best = {tried[far.index(min(far[:few]))] for few in (1, 2, 4)}
            expected += [(label, 2 * number + 1, "final", rate) for rate in best]
    assert sorted(expected) == sorted((t.label, t.seed, t.kind, t.point["lr"]) for t in fresh)
    assert len(expected) < 2 * 3 * 3, "the best of 1 point is at times the best of 2: it is trained once"
    assert (last.name, last.edges, last.active, last.seeds) == ("done", {}, ("sgd", "adam"), 3)
    assert len(done) == len(tune) + len(fresh) == last.total + len(tune)


def test_a_seed_counts_when_all_its_fresh_runs_are_there():
    """Also those at the best of fewer points: one that is not trained yet has not diverged."""
    last, stages, done = play(SPEC, valley())
    whole = measured_runs(SPEC, last.tunings, done, 3)
    assert [len(each.runs) for each in whole] == [3, 3]
    chosen = {(each.name, run.seed): run.point for each in whole for run in each.runs}
    extra = next(t for t in stages[-1][1] if t.seed == SPEC.fresh_seed(2) and t.point != chosen[t.label, t.seed])
    del done[extra.key(SPEC)]
    part = {each.name: each for each in measured_runs(SPEC, last.tunings, done, 3)}
    assert len(part[extra.label].runs) == 2
    assert all(math.isfinite(loss) for losses in part[extra.label].budget.values() for loss in losses)


def test_seeds_are_paired_and_none_is_used_for_two_things():
    _, stages, _ = play(replace(SPEC, looks=(5, 10)), valley(size=0.3))
    trials = [t for _, some in stages for t in some]
    by_label = [Counter({(t.seed, t.kind) for t in trials if t.label == label}) for label in ("sgd", "adam")]
    assert by_label[0] == by_label[1], "paired"
    kinds = [{t.seed for t in trials if t.kind == kind} for kind in ("tune", "final")]
    assert [sorted(seeds) for seeds in kinds] == [list(range(0, 20, 2)), list(range(1, 20, 2))], "fresh"


@pytest.mark.slow  # plays whole studies
def test_another_study_seed_has_no_point_and_no_seed_in_common():
    found = []
    for study_seed in (0, 1, 2):
        _, stages, _ = play(replace(SPEC, seed=study_seed, looks=(1000,)), lambda trial: 1.0)
        trials = [t for _, some in stages for t in some]
        found.append(({t.seed for t in trials}, {t.point["lr"] for t in trials}))
    for (seeds, points), (others, other_points) in pairwise([*found, found[0]]):
        assert not seeds & others
        assert not points & other_points
        assert len(points) == 2 * 4 * 1000


def test_an_optimizer_has_the_same_trials_whoever_else_takes_part_in_whatever_order():
    keys = []
    for configs in ((SGD, ADAM), (ADAM, SGD), (THIRD, ADAM, SGD), (SGD,)):
        spec = replace(SPEC, optimizers=configs)
        _, stages, _ = play(spec, valley())
        keys.append({t.key(spec) for _, some in stages for t in some if t.label == "sgd"})
    assert keys[0] == keys[1] == keys[2] == keys[3]
    assert len(keys[0]) > 12


def test_nothing_but_what_decides_its_numbers_is_in_a_trainings_key():
    first = stage(SPEC, {}).trials[0]
    same = replace(SPEC, points=16, looks=(50,), extra_points=4, expansions=0, margin="1%", ratio=True, seed=8)
    assert first.key(same) == first.key(SPEC)
    others = [
        replace(SPEC, **{name: value})
        for name, value in (
            ("task", "mnist"),
            ("data", "folder"),
            ("steps", 11),
            ("evaluations", 19),
            ("schedule", "cosine"),
            ("versions", {"torch": "3"}),
        )
    ]
    others.append(replace(SPEC, optimizers=(replace(SGD, source="sgd:momentum=0.9"), ADAM)))
    assert len({SPEC.training_hash, *(spec.training_hash for spec in others[:-1])}) == 7
    keys = [trial.key(SPEC) for trial in (first, replace(first, seed=1), replace(first, kind="final"))]
    keys += [replace(first, label="adam").key(SPEC), replace(first, point={"lr": 0.5}).key(SPEC)]
    assert len({*keys, *(first.key(spec) for spec in others)}) == 12


def test_where_nothing_is_searched_a_seed_is_one_point_and_one_fresh_run():
    spec = StudySpec("digits", (OptimizerConfig("sgd:lr=0.1", {}),), steps=10, points=4, looks=(2,))
    _, stages, done = play(spec, lambda trial: 1.0)
    assert [(name, [(t.seed, t.point) for t in trials]) for name, trials in stages] == [
        ("tune", [(0, {}), (2, {})]),
        ("final", [(1, {}), (3, {})]),
    ]
    (runs,) = StudyRecord(spec, done).runs
    assert [run.seed for run in runs.runs] == [1, 3]
    assert runs.budget == {}, "there is no budget of points"


def test_points_that_diverge_are_not_trained_afresh():
    loss = valley()
    _, stages, _ = play(SPEC, lambda trial: math.inf if trial.point["lr"] > 0.05 else loss(trial))
    tune, fresh = (trials for _, trials in stages)
    for number in range(3):
        tried = rates(tune, "sgd", 2 * number)
        sound = [rate for rate in tried if rate <= 0.05]
        assert max(sound) in rates(fresh, "sgd", 2 * number + 1, "final")
        for rate in rates(fresh, "sgd", 2 * number + 1, "final"):
            assert rate <= 0.05 or rate == tried[0], "of one point, or of those that all diverge, the first is the best"


def test_a_point_that_was_lucky_once_is_judged_by_its_fresh_run():
    def loss(trial):
        return 0.0 if trial.kind == "tune" else 5.0 + trial.seed

    _, _, done = play(SPEC, loss)
    for runs in StudyRecord(SPEC, done).runs:
        assert [run.score for run in runs.runs] == [6.0, 8.0, 10.0]


def test_the_run_of_a_seed_is_that_of_its_best_point_and_the_budget_those_of_the_first_points():
    loss = valley(size=0.5)
    last, stages, done = play(replace(SPEC, expansions=0), loss)
    tune = stages[0][1]
    for tuning, runs in zip(last.tunings, measured_runs(SPEC, last.tunings, done, 3), strict=True):
        label = tuning.config.label
        for number, run in enumerate(runs.runs):
            trials = [t for t in tune if (t.label, t.seed) == (label, 2 * number)]
            for few in (1, 2, 4):
                best = min(trials[:few], key=loss)
                after = loss(replace(best, seed=2 * number + 1, kind="final"))
                assert runs.budget[few][number] == after
            assert (run.point, run.score, run.seed) == (best.point, after, 2 * number + 1)
        assert [(t.seed, t.score) for t in runs.trials] == [(t.seed, loss(t)) for t in tune if t.label == label]


# --- expansion ---------------------------------------------------------------------------------------------------


def test_where_most_tunings_have_their_best_at_the_same_edge_every_optimizer_gets_as_many_more_points():
    spec = replace(SPEC, extra_points=2, optimizers=(SGD, ADAM, THIRD))
    last, stages, _ = play(spec, valley(MIDDLES | {"adam": 0.4}))
    names = [name for name, _ in stages]
    assert names[0] == "tune"
    assert names[1] == "expand"
    more = stages[1][1]
    assert Counter((t.label, t.seed) for t in more) == {
        (a, s): 2 for a in ("sgd", "adam", "rmsprop") for s in (0, 2, 4)
    }
    assert all(0.1 < t.point["lr"] <= 1.0 for t in more if t.label == "adam"), "beyond the edge"
    assert all(1e-3 <= t.point["lr"] <= 10 for t in more if t.label == "sgd"), "in the space as it is"
    assert len({len(t.points(0)) for t in last.tunings}) == 1
    tried = [t.point["lr"] for name, some in stages if name != "final" for t in some if (t.label, t.seed) == ("sgd", 0)]
    assert len(set(tried)) == len(tried), "the sequence goes on: no point comes twice"
    finals = [t for name, some in stages if name == "final" for t in some if t.label == "adam"]
    assert any(t.point["lr"] > 0.1 for t in finals)


def test_half_of_the_tunings_at_an_edge_are_not_most():
    """Whether the best is at an edge is decided here by the seed, not by the rate."""
    spec = replace(SPEC, optimizers=(SGD,), looks=(4,))

    def loss(at_edge):
        def of(trial):
            points = [p["lr"] for p in stage(spec, {}).tunings[0].points(trial.seed // 2)]
            wanted = max(points) if trial.seed // 2 < at_edge else sorted(points)[1]
            return abs(math.log10(trial.point["lr"] / wanted))

        return of

    assert [name for name, _ in play(spec, loss(2))[1]] == ["tune", "final"]
    assert [name for name, _ in play(spec, loss(3))[1]][:2] == ["tune", "expand"]


def test_opposite_edges_do_not_add_up():
    spec = replace(SPEC, optimizers=(SGD,), looks=(4,))

    def loss(trial):
        return trial.point["lr"] if trial.seed % 4 == 0 else -trial.point["lr"]

    assert [name for name, _ in play(spec, loss)[1]] == ["tune", "final"]


def test_every_hyperparameter_at_an_edge_counts():
    """Of four points one is outermost by chance in half of the tunings: that must not hide a momentum that always is."""
    space = {"lr": Range(1e-3, 10.0), "eps": Range(1e-9, 1e-5), "momentum": Range(0.5, 0.99, "complement")}
    spec = replace(SPEC, optimizers=(OptimizerConfig("momentum", space),), looks=(20,))

    def loss(trial):
        return -trial.point["momentum"]

    now, done = stage(spec, {}), {}
    done |= {t.key(spec): given(loss(t)) for t in now.trials}
    now = stage(spec, done)
    assert now.name == "expand"
    assert all(t.point["momentum"] > 0.99 for t in now.trials)
    last, _, _ = play(spec, loss)
    assert last.edges == {"momentum": "the high end of momentum"}


def test_an_edge_that_stays_one_is_said_and_widening_ends():
    last, stages, _ = play(SPEC, valley(MIDDLES | {"adam": 1e9}))
    assert [name for name, _ in stages].count("expand") == SPEC.expansions
    assert last.edges == {"adam": "the high end of lr"}
    assert [name for name, _ in play(replace(SPEC, expansions=0), valley(MIDDLES | {"adam": 1e9}))[1]] == [
        "tune",
        "final",
    ]


def test_what_is_fixed_gets_no_more_points_where_others_expand():
    spec = replace(SPEC, optimizers=(OptimizerConfig("sgd:lr=0.1", {}), ADAM))
    last, stages, _ = play(spec, lambda t: abs(math.log10(t.point["lr"] / 0.4)) if t.point else 1.0)
    assert stages[1][0] == "expand"
    assert {t.label for t in stages[1][1]} == {"adam"}
    assert len(last.tunings[0].points(0)) == 1


def test_later_looks_try_the_points_that_the_first_one_has_added():
    spec = replace(SPEC, looks=(3, 6))
    _, stages, _ = play(spec, valley(MIDDLES | {"adam": 0.4}, size=0.3))
    extra = [name for name, _ in stages].count("expand")
    second = [some for name, some in stages if name == "tune"][1]
    assert extra > 0
    assert Counter((t.label, t.seed) for t in second) == {
        (a, s): 4 + extra for a in ("sgd", "adam") for s in (6, 8, 10)
    }


# --- looks -------------------------------------------------------------------------------------------------------

LOOKS = replace(SPEC, optimizers=(SGD, ADAM, THIRD), looks=(5, 10, 20), expansions=0)


def test_a_look_that_settles_everything_ends_the_study():
    last, stages, done = play(LOOKS, valley(above={"adam": 50.0, "rmsprop": 70.0}, size=0.01))
    assert [name for name, _ in stages] == ["tune", "final"]
    assert (last.name, last.seeds) == ("done", 5)
    record = StudyRecord(LOOKS, done)
    assert [len(each.runs) for each in record.runs] == [5, 5, 5]
    assert record.progress.done == record.progress.total == len(done)


def test_who_is_equivalent_within_the_margin_is_settled_too():
    last, _, _ = play(replace(LOOKS, margin="5"), valley(size=0.01))
    assert (last.name, last.seeds) == ("done", 5)


def test_an_optimizer_that_is_out_gets_no_more_trials_and_keeps_its_runs():
    loss = valley(above={"rmsprop": 70.0}, size=0.5)
    last, stages, done = play(replace(LOOKS, margin="0"), loss)
    assert [name for name, _ in stages] == ["tune", "final"] * 3
    assert Counter(t.seed for t in stages[0][1] if t.label == "rmsprop") == dict.fromkeys(range(0, 10, 2), 4)
    for _, trials in stages[2:]:
        assert {t.label for t in trials} == {"sgd", "adam"}
    assert last.active == ("sgd", "adam")
    assert (last.name, last.seeds) == ("done", 20)
    record = StudyRecord(replace(LOOKS, margin="0"), done)
    assert [len(each.runs) for each in record.runs] == [20, 20, 5]
    assert sum(trial.label == "rmsprop" for trial, _ in record.trials) >= 5 * 5
    standing = {s.name: s for s in record.judge().losses.standings}
    assert (standing["rmsprop"].verdict, standing["rmsprop"].runs) == ("not the best", 5)


def test_equal_optimizers_are_looked_at_to_the_end():
    last, stages, _ = play(replace(LOOKS, margin="0"), valley(size=0.5))
    assert [name for name, _ in stages] == ["tune", "final"] * 3
    assert Counter(t.seed < 10 for t in stages[2][1]) == {False: 3 * 5 * 4}, "only the seeds that are new"
    assert last.seeds == 20


def test_one_optimizer_alone_is_trained_to_the_end():
    last, _, done = play(replace(LOOKS, optimizers=(SGD,)), valley())
    assert (last.name, last.seeds) == ("done", 20)
    assert len(StudyRecord(LOOKS, done).runs[0].runs) == 20


def test_a_look_at_which_nothing_has_a_loss_ends_the_study():
    last, _, _ = play(LOOKS, lambda trial: math.inf)
    assert (last.name, last.seeds) == ("done", LOOKS.looks[0])


# --- resuming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_next_stage_does_not_depend_on_the_order_in_which_trials_end(seed):
    loss, spec = valley(MIDDLES | {"adam": 0.4}, size=0.3), replace(SPEC, looks=(3, 6))
    _, stages, straight = play(spec, loss)
    draw, done, now = random.Random(seed), {}, None
    while (now := stage_after(spec, now, done)).name != "done":
        told = stage(spec, done)
        assert (told.name, told.trials, told.total, told.seeds, told.active, told.edges) == (
            now.name,
            now.trials,
            now.total,
            now.seeds,
            now.active,
            now.edges,
        )
        for trial in draw.sample(now.trials, draw.randint(1, len(now.trials))):
            done[trial.key(spec)] = given(loss(trial))
        done = dict(draw.sample(list(done.items()), len(done)))
    assert done == straight
    assert len(done) == sum(len(trials) for _, trials in stages)


def test_a_finished_study_goes_on_with_more_seeds_and_keeps_all_its_trainings():
    loss = valley(MIDDLES | {"adam": 0.4}, size=0.3)
    first, _, done = play(SPEC, loss)
    longer = replace(SPEC, looks=(8,)).joined_to(SPEC)
    assert longer is not None
    assert longer.looks == (3, 8), "that it was looked at is paid for"
    before = dict(done)
    last, stages, after = play(longer, loss, done)
    assert before.items() <= after.items()
    trials = [t for _, some in stages for t in some]
    assert min(t.seed for t in trials) == 6, "nothing is trained again"
    assert [t.points(0) for t in last.tunings] == [t.points(0) for t in first.tunings]
    assert [len(each.runs) for each in StudyRecord(longer, after).runs] == [8, 8]
    again = replace(SPEC, looks=(8,)).joined_to(longer)
    assert again == longer, "the same command again changes nothing"
    assert replace(SPEC, looks=(5, 10, 20)).joined_to(longer).looks == (3, 8, 10, 20)


# --- how far it is -----------------------------------------------------------------------------------------------


def test_how_many_trainings_there_will_be():
    """4 points, and fresh runs at the best of 1, of 2 (another one by a half) and of 4 (another one by a half)."""
    first = stage(SPEC, {})
    assert progress_of(SPEC, first, {}).total == 2 * 3 * (4 + 2)
    assert progress_of(SPEC, first, {}).sentence == "0 of about 36 trainings are done."
    loss = valley()
    last, stages, done = play(SPEC, loss)
    tuned = {t.key(SPEC): given(loss(t)) for t in stages[0][1]}
    now = stage(SPEC, tuned)
    assert (progress_of(SPEC, now, tuned).done, progress_of(SPEC, now, tuned).total) == (24, len(done))
    assert progress_of(SPEC, last, done).sentence == f"{len(done)} of {len(done)} trainings are done."
    fixed = replace(SPEC, optimizers=(OptimizerConfig("sgd:lr=0.1", {}),))
    assert progress_of(fixed, stage(fixed, {}), {}).total == 3 * 2


def test_those_that_are_out_are_no_longer_counted():
    spec, loss = replace(LOOKS, margin="0"), valley(above={"rmsprop": 70.0}, size=0.5)
    _, stages, done = play(spec, loss)
    at_first = {t.key(spec): given(loss(t)) for _, some in stages[:2] for t in some}
    now = stage(spec, at_first)
    assert progress_of(spec, now, at_first).total == len(at_first) + 2 * 15 * 6
    assert progress_of(spec, now, at_first).total == pytest.approx(len(done), rel=0.05)
