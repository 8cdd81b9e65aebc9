"""What a study will cost, said before it is run: counted by hand, and timed with made-up and with real seconds."""

import math

import pytest
import torch
from click.testing import CliRunner
from scipy import stats
from slow_model import Slow
from torch import nn

from ravine.comparison._study import cost
from ravine.comparison._study.cost import (
    Cost,
    TrainingSeconds,
    cost_of,
    measured_seconds,
    measured_share,
    smallest_difference,
)
from ravine.comparison._study.stacked_task import stacked_task
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.optim._spec import parse
from ravine.optim.search import Range
from ravine.tasks import Data, Task, find

LR = {"lr": Range(1e-3, 10.0)}
CONFIGS = (OptimizerConfig("sgd", LR), OptimizerConfig("torch-adam", LR), OptimizerConfig("sgd:lr=0.1", {}))
OPTIMIZERS = {config.label: parse(config.label) for config in CONFIGS}
ROWS = Data(torch.linspace(-1, 1, 40)[:, None], torch.linspace(-1, 1, 40)[:, None])
TASK = Task("mine", lambda: nn.Linear(1, 1), ROWS, ROWS, nn.functional.mse_loss, batch_size=2)


def slow(task, optimizer):
    """A tenth of a second for each step of adam, and a second for each evaluation."""
    return TrainingSeconds(0.0, 0.1 if "adam" in optimizer.label else 0.0, 1.0)


def test_trainings_and_seconds_are_counted():
    spec = StudySpec("mine", CONFIGS, steps=1000, points=4, looks=(5, 20), evaluations=9, extra_points=1, expansions=2)
    cost = cost_of(spec, TASK, OPTIMIZERS, 1, time_training=slow)
    # a seed: 4 points and about 2 fresh runs; of what is fixed 1 and 1
    assert cost.trainings == (5 * (6 + 6 + 2), 20 * (6 + 6 + 2))
    # at most: 2 points more, and the best of 1, 2, 4 and 6 points are 4 others
    assert cost.at_most == 20 * (10 + 10 + 2)
    seconds = 6 * 110.004 + 6 * 10.004 + 2 * 10.004  # 9 evaluations and one before the first step
    assert cost.seconds == (pytest.approx(5 * seconds), pytest.approx(20 * seconds))
    assert "\n".join(cost.lines).startswith(
        f"To the first look, at 5 seeds: about 70 trainings, {5 * seconds / 60:.0f} minutes of training with 1 job.\n"
        f"To the end, at 20 seeds: about 280 trainings, {20 * seconds / 3600:.1f} hours of training with 1 job; at most 440 trainings"
    )


def test_a_study_with_one_look_and_one_optimizer():
    spec = StudySpec("mine", CONFIGS[:1], steps=10, points=1, looks=(3,), expansions=0)
    cost = cost_of(spec, TASK, OPTIMIZERS, 1, time_training=slow)
    assert (cost.trainings, cost.at_most, cost.smallest) == ((6, 6), 6, None)
    first, beside = cost.lines
    assert first == "To the end, at 3 seeds: about 6 trainings, 66 seconds of training with 1 job."
    assert beside.endswith("add 10 to 30 seconds, however short the trainings are.")


def test_what_a_long_study_needs_beside_training_is_not_said():
    spec = StudySpec("mine", CONFIGS, steps=1000, points=4, looks=(20,))
    assert "report add" not in "\n".join(cost_of(spec, TASK, OPTIMIZERS, 1, time_training=slow).lines)


def test_jobs_share_the_trainings_as_far_as_there_are_processors(monkeypatch):
    monkeypatch.setattr("ravine.comparison._study.cost.processors", lambda: 4)
    spec = StudySpec("mine", CONFIGS, steps=10, looks=(5,))
    alone, four, many = (cost_of(spec, TASK, OPTIMIZERS, jobs, time_training=slow).seconds[1] for jobs in (1, 4, 40))
    assert alone == pytest.approx(4 * four)
    assert many == pytest.approx(four)


def test_the_smallest_difference_is_that_of_a_paired_t_test():
    for seeds in (5, 10, 40):
        found = smallest_difference(2, (seeds,))
        assert found == pytest.approx((stats.t.ppf(0.975, seeds - 1) + 0.84) / math.sqrt(seeds))
    # 40 seeds: what is said has a chance of .8, by the noncentral t distribution
    critical = stats.t.ppf(0.975, 39)
    assert stats.nct.sf(critical, 39, found * math.sqrt(40)) == pytest.approx(0.8, abs=0.01)
    assert smallest_difference(8, (10,)) > smallest_difference(2, (10,)), "more optimizers need more"
    assert smallest_difference(2, (5, 10)) > smallest_difference(2, (10,)), "and looks are paid for"
    assert smallest_difference(1, (10,)) is None


def test_a_few_steps_and_an_evaluation_are_timed():
    made, state = [], torch.random.get_rng_state()

    def model():
        made.append(Slow())
        return made[-1]

    task = Task("mine", model, ROWS, ROWS, nn.functional.mse_loss, batch_size=2)
    for label in ("sgd", "torch-adam:lr=0.1"):
        found = measured_seconds(task, parse(label))
        assert 0.01 <= found.step < 1
        assert 0.01 <= found.evaluation < 1
        assert found.begin >= 0
    assert torch.equal(state, torch.random.get_rng_state())
    spec = StudySpec("mine", CONFIGS, steps=100, evaluations=20)
    assert found.of(spec) >= 100 * 0.01 + 21 * 0.01


def test_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = StudySpec("mine", CONFIGS, steps=10, looks=(2,))
    assert isinstance(cost_of(spec, TASK, OPTIMIZERS, 2), Cost)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_it_and_trains_nothing(tmp_path, monkeypatch):
    from ravine.cli._compare import command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ravine.comparison._api.Store", None)
    options = ["-o", "sgd", "-o", "adam", "--until", "settled", "--at-most", "20", "--jobs", "1", "--out", "there"]
    said = CliRunner().invoke(command, ["breast-cancer", *options, "--dry-run"])
    assert said.exit_code == 0, said.output
    lines = said.output.splitlines()
    assert lines[0].startswith("To the first look, at 8 seeds: about 96 trainings, ")
    assert lines[1].startswith("To the end, at 20 seeds: about 240 trainings, ")
    smallest = smallest_difference(2, (8, 11, 14, 17, 20))
    assert lines[2].startswith("Starting the processes, ")
    assert lines[4].startswith(
        f"The smallest difference it can show, with a chance of .8: {smallest:.2g} times the spread"
    )
    assert not list(tmp_path.iterdir())
    refused = CliRunner().invoke(command, ["breast-cancer", "--seeds", "1", "--dry-run"])
    assert "at least 2 seeds" in str(refused.exception)


def test_trainings_that_run_together_are_timed_together(monkeypatch):
    monkeypatch.setattr("ravine.comparison._study.cost.measured_seconds", lambda task, one: TrainingSeconds(0, 0, 1e4))
    spec = StudySpec("breast-cancer", CONFIGS, steps=10, looks=(2,))
    assert 0 < cost_of(spec, find("breast-cancer"), OPTIMIZERS, 1).seconds[1] < 1e4
    random = Task("mine", lambda: nn.Sequential(nn.Dropout(), nn.Linear(1, 1)), ROWS, ROWS, TASK.loss, batch_size=2)
    assert cost_of(spec, random, OPTIMIZERS, 1).seconds[1] > 1e5, "trained one by one"


def test_the_share_of_a_training(monkeypatch):
    """A clock that only trainings move: 3 seconds to begin, 2 for a step, 5 for an evaluation; and a cold first one."""
    clock, blocks = [0.0], []

    def block(spec, stacked, trials, optimizers):
        blocks.append((spec.steps, len(trials)))
        evaluations = 1 + sum(evaluated(spec, step) for step in range(1, spec.steps + 1))
        clock[0] += len(trials) * (3 + 2 * spec.steps + 5 * evaluations) + 1000 * (len(blocks) == 1)

    monkeypatch.setattr(cost, "run_block", block)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock[0])
    shared = measured_share(stacked_task(TASK), parse("adam:lr=0.1"))
    assert (shared.begin, shared.step, shared.evaluation) == pytest.approx((3, 2, 5))
    assert len(blocks) == 4
    assert len({trials for _, trials in blocks}) == 1


def evaluated(spec, step):
    """Whether a training is evaluated after that step: as often as is declared, and at its end."""
    return step % math.ceil(spec.steps / spec.evaluations) == 0 or step == spec.steps


def test_real_trainings_that_share_take_their_time():
    shared = measured_share(stacked_task(TASK), parse("adam:lr=0.1"))
    assert min(shared.begin, shared.step, shared.evaluation) >= 0
    assert shared.begin + shared.step + shared.evaluation > 0
