"""One training of a study against a plain torch loop, and what makes trainings comparable."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import Trial, run, validation_split
from ravine.optim._spec import parse
from ravine.optim.search import Range
from ravine.tasks import Data, Task, find
from ravine.train import Batches, accuracy


def small(model=lambda: nn.Linear(6, 3), rows=50):
    random = torch.Generator().manual_seed(5)
    inputs = torch.randn(rows, 6, generator=random)
    data = Data(inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long())
    test = Data(data.inputs[:13], data.targets[:13])
    return Task("small", model, data, test, functional.cross_entropy, 16, metrics={"accuracy": accuracy})


def spec(label, **changed):
    space = {name: Range(1e-9, 0.9) for name in changed.pop("searched", ["lr"])}
    return StudySpec("small", (OptimizerConfig(label, space),), **{"steps": 8, "evaluations": 4, **changed})


def trained(task, label, point, seed=7, kind="final", **changed):
    searched = spec(label, searched=list(point), **changed)
    return run(searched, task, Trial(label, point, seed, kind), parse(label))


def test_a_training_is_a_plain_torch_loop():
    task = small()
    found = trained(task, "torch-rmsprop:alpha=0.9", {"lr": 0.01})
    training, valid = validation_split(task, 7)
    assert (len(training.train), len(valid)) == (40, 10)
    torch.manual_seed(7)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01, alpha=0.9)
    batches = Batches(training.train.inputs, training.train.targets, 16, seed=7)
    losses = [functional.cross_entropy(model(valid.inputs), valid.targets).item()]
    for batch in [pair for _ in range(3) for pair in batches][:8]:
        optimizer.zero_grad()
        functional.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
        losses.append(functional.cross_entropy(model(valid.inputs), valid.targets).item())
    assert found.steps == (0, 2, 4, 6, 8), "the first before the first step"
    assert found.losses == pytest.approx(losses[::2], rel=1e-6)
    assert found.score == found.losses[-1]
    hits = (model(task.test.inputs).argmax(1) == task.test.targets).double().mean().item()
    expected = functional.cross_entropy(model(task.test.inputs), task.test.targets).item()
    assert found.metrics == {"accuracy": pytest.approx(hits), "test_loss": pytest.approx(expected, rel=1e-6)}
    assert found.seconds > 0


def test_the_rows_kept_apart_are_no_training_rows_and_are_the_seeds():
    training, valid = validation_split(small(), 3)
    rows, kept = ({tuple(row) for row in part.inputs.tolist()} for part in (training.train, valid))
    assert not rows & kept
    assert len(rows | kept) == 50
    assert torch.equal(valid.inputs, validation_split(small(), 3)[1].inputs)
    assert kept != {tuple(row) for row in validation_split(small(), 4)[1].inputs.tolist()}


def test_ours_follow_torchs():
    for ours, theirs in [("rmsprop", "torch-rmsprop"), ("adam", "torch-adam"), ("momentum", "torch-sgd:momentum=0.9")]:
        a, b = (trained(small(), label, {"lr": 0.01}) for label in (ours, theirs))
        assert a.losses == pytest.approx(b.losses, rel=1e-5)


def test_every_optimizer_starts_alike_and_the_global_generator_is_left_alone():
    task = small(lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)))
    found = []
    for label in ("sgd", "torch-adam"):
        torch.rand(1)  # it stands elsewhere each time
        state = torch.random.get_rng_state()
        found.append(trained(task, label, {"lr": 1e-9}))
        assert torch.equal(state, torch.random.get_rng_state())
    assert found[0].losses == pytest.approx(found[1].losses, rel=1e-5)
    assert trained(task, "sgd", {"lr": 1e-9}, seed=8).losses != pytest.approx(found[0].losses, rel=1e-3)


def test_a_schedule_is_followed():
    task = small()
    held, cosine = (trained(task, "torch-sgd", {"lr": 0.5}, schedule=s) for s in ("", "cosine"))
    assert held.losses[0] == cosine.losses[0]
    assert held.losses[1] != cosine.losses[1]
    with pytest.raises(Exception, match="nothing"):
        trained(task, "torch-sgd", {"lr": 0.5}, schedule="nothing")


def test_the_numbers_of_betas_are_searched_by_themselves():
    task = small()
    searched = trained(task, "adam:betas=(0.5, 0.6)", {"lr": 0.01, "beta2": 0.8})
    given = trained(task, "adam:betas=(0.5, 0.8)", {"lr": 0.01})
    assert searched.losses == given.losses
    plain = trained(task, "torch-adam", {"lr": 0.01, "beta1": 0.9, "beta2": 0.999})
    assert plain.losses == trained(task, "torch-adam", {"lr": 0.01}).losses


def test_a_model_that_breaks_only_in_its_evaluation_has_diverged():
    task = dataclasses.replace(small(), loss=lambda out, y: functional.cross_entropy(out, y) / (len(y) != 10))
    assert trained(task, "sgd", {"lr": 0.1}).diverged


def test_every_step_is_measured_where_there_are_few():
    assert trained(small(), "sgd", {"lr": 0.1}, steps=3, evaluations=20).steps == (0, 1, 2, 3)


def test_there_are_no_more_evaluations_than_declared_beside_the_first():
    for steps in range(1, 40):
        found = trained(small(), "torch-sgd", {"lr": 0.1}, steps=steps, evaluations=4).steps
        assert found[0] == 0
        assert found[-1] == steps
        assert len(found) <= 1 + 4


def test_a_run_that_diverges_says_what_it_began_with():
    task = dataclasses.replace(small(), loss=lambda out, y: functional.cross_entropy(out, y) / (out.abs().max() < 100))
    found = trained(task, "torch-sgd", {"lr": 1e4}, steps=8)
    assert found.diverged
    assert found.score == math.inf
    assert found.steps[0] == 0
    assert found.losses[0] == trained(small(), "torch-sgd", {"lr": 0.1}).losses[0]


def test_on_a_function_gradient_descent_goes_down_from_a_place_of_the_seeds_own():
    task, found = find("ravine"), {}
    assert task.surface is not None
    left, right, bottom, top = task.surface.window
    for seed in (0, 1, 2):
        trial = Trial("torch-sgd", {"lr": 0.1}, seed, "final")
        declared = StudySpec("ravine", spec("torch-sgd").optimizers, steps=10, evaluations=1)
        found[seed] = run(declared, task, trial, parse("torch-sgd"))
    starts = set()
    for result in found.values():
        # x <- x - lr x / 10, y <- y - lr 10 y: after one step y is 0, and of x**2 / 20 + 5 y**2 the first part is left
        x = math.sqrt(20 * result.score) / 0.99**10
        y = math.sqrt(max(0.0, result.losses[0] - x**2 / 20) / 5)
        assert abs(x) <= max(-left, right) + 1e-3
        assert abs(y) <= max(-bottom, top) + 1e-3
        starts.add((round(x, 3), round(y, 3)))
        assert result.steps == (0, 10)
    assert len(starts) == 3


def test_updates_are_told_by_the_names_of_the_network():
    found = trained(small(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))), "sgd", {"lr": 0.1})
    assert list(found.watch) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(0 < ratio < 1 for ratio in found.watch.values())
    assert trained(small(), "torch-sgd", {"lr": 0.1}).watch == {}
