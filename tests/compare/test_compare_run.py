"""Training against a plain torch.optim loop, and what makes a comparison fair."""

import contextlib
import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ravine import tasks
from ravine.compare import contenders, run
from ravine.errors import OptionError
from ravine.tasks import Data, Task
from ravine.train import Batches, accuracy


def small(model=lambda: nn.Linear(6, 3), rows=50):
    random = torch.Generator().manual_seed(5)
    inputs = torch.randn(rows, 6, generator=random)
    data = Data(inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long())
    return Task(
        "small",
        model,
        data,
        Data(data.inputs[:13], data.targets[:13]),
        functional.cross_entropy,
        16,
        3,
        1,
        metrics={"accuracy": accuracy},
    )


def trained(task, spec, *, epochs=3, seed=0, **options):
    start = task.start(seed)
    return run.train(task, contenders.parse(spec, task), start, epochs=epochs, seed=seed, **options)


def test_training_is_a_plain_torch_loop():
    task = small()
    result = trained(task, "torch-rmsprop:alpha=0.9,lr=0.01", seed=7)
    torch.manual_seed(7)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01, alpha=0.9)
    batches = Batches(task.train.inputs, task.train.targets, 16, seed=7)
    losses = []
    for _ in range(3):
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert result.losses == losses
    for data, found in ((task.train, result.train_loss), (task.test, result.test_loss)):
        expected = functional.cross_entropy(model(data.inputs), data.targets).item()
        assert found == pytest.approx(expected, rel=1e-6)
    hits = (model(task.test.inputs).argmax(1) == task.test.targets).double().mean().item()
    assert result.metrics == {"accuracy": pytest.approx(hits)}
    assert result.options["alpha"] == 0.9
    assert 0 < result.step_share < 1
    assert result.seconds_per_epoch > 0


def test_ours_follow_torchs_on_the_same_batches():
    task = small()
    for ours, theirs in [("rmsprop", "torch-rmsprop"), ("adam", "torch-adam"), ("momentum", "torch-sgd:momentum=0.9")]:
        a, b = (trained(task, spec + (",lr=0.01" if ":" in spec else ":lr=0.01")) for spec in (ours, theirs))
        assert a.losses == pytest.approx(b.losses, rel=1e-4)


def test_the_same_seed_gives_the_same_losses_and_another_does_not():
    task = small()
    first = trained(task, "adam")
    assert trained(task, "adam").losses == first.losses
    assert trained(task, "adam", seed=1).losses != first.losses


def test_every_contender_starts_alike_and_leaves_the_start_and_the_global_generator_alone():
    task = small(lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)))
    start = task.start(3)
    before, results = copy.deepcopy(start.state_dict()), []
    for spec in ("sgd:lr=1e-9", "torch-adam:lr=1e-9"):
        torch.rand(1)  # the global generator stands elsewhere each time
        state = torch.random.get_rng_state()
        results.append(run.train(task, contenders.parse(spec, task), start, epochs=2, seed=3))
        assert torch.equal(state, torch.random.get_rng_state())
    assert results[0].losses == pytest.approx(results[1].losses, rel=1e-5)  # what dropout drops is the same, too
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())


def test_divergence_ends_the_training_and_is_recorded():
    task = tasks.find("rosenbrock")
    result = trained(task, "sgd:lr=1", epochs=2)
    assert result.diverged
    assert result.diverged_at == len(result.losses) < 20
    assert not math.isfinite(result.losses[-1])
    assert np.isfinite(result.losses[:-1]).all()
    assert result.seconds_per_epoch > 0


def test_weights_that_break_in_the_last_step_are_divergence_too():
    task = tasks.find("rosenbrock")
    steps = len(trained(task, "sgd:lr=1", epochs=1).losses)
    one = Task(**{**vars(task), "train": Data(torch.empty(steps - 1, 0), torch.empty(steps - 1, 0))})
    result = trained(one, "sgd:lr=1", epochs=1)
    assert result.diverged_at is None
    assert result.diverged


def test_the_path_is_gradient_descents():
    result = trained(tasks.find("ravine"), "torch-sgd:lr=0.1", epochs=1)
    steps = np.arange(101)  # x ← x − lr·x/10, y ← y − lr·10 y
    expected = np.stack([-8 * 0.99**steps, np.where(steps == 0, 1.5, 0.0)], axis=1)
    assert np.allclose(result.path, expected)
    assert result.metrics["distance"] == pytest.approx(8 * 0.99**100)
    assert result.train_loss == result.test_loss == pytest.approx((8 * 0.99**100) ** 2 / 20)


def test_warming_up_changes_nothing_and_finds_optimizers_that_cannot_step():
    task = small()
    start = task.start(0)
    before = copy.deepcopy(start.state_dict())
    run.warm_up(task, contenders.parse("adam", task), start)
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())
    assert all(p.grad is None for p in start.parameters())
    with pytest.raises(OptionError, match=r"torch-lbfgs: its step fails: .*closure"):
        run.warm_up(task, contenders.parse("torch-lbfgs", task), start)


def test_every_epoch_is_reported():
    epochs = []
    trained(small(), "torch-sgd", epochs=4, on_epoch=lambda: epochs.append(1))
    assert len(epochs) == 4


def test_one_thread_is_only_for_a_while():
    before = torch.get_num_threads()
    with contextlib.suppress(KeyError), run.one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before
