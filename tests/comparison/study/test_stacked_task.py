"""Copies of a model as one give the losses and gradients of each model alone, and are refused where they could not."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ravine.comparison._study import stacked_task as module
from ravine.comparison._study.stacked_task import WIDTH, StackedTask, stacked_task
from ravine.comparison._study.trial import first_model
from ravine.tasks import Data, Task, find
from ravine.tasks._gpt import GPT

SQUARES = (1, 8, 8)


class Twice(nn.Module):
    """A model that decides by what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        outputs = self.layer(x.flatten(1))
        return outputs if outputs.sum() > 0 else 2 * outputs


class Idle(nn.Module):
    """A model with a parameter that has no part in the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.idle = nn.Linear(64, 10), nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(x.flatten(1))


class Last(nn.Module):
    """A recurrent network."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.layer = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 10)

    def forward(self, x):
        return self.layer(self.rnn(x[:, 0])[0][:, -1])


def flat(*layers):
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 33), *(layer() for layer in layers), nn.Linear(33, 10))


def frozen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    model[1].bias.requires_grad_(False)
    return model


def task_of(model, loss=functional.cross_entropy, inputs=None, batch_size=32):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, *SQUARES, generator=generator) if inputs is None else inputs
    data = Data(inputs, torch.randint(10, (200,), generator=generator))
    return Task("mine", model, data, data, loss, batch_size)


def scaled(outputs, targets):
    """A loss that draws random numbers."""
    return functional.cross_entropy(outputs, targets) * torch.rand(())


STACKED = {
    "mlp": task_of(flat(nn.ReLU)),
    "curves": task_of(flat(nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Softplus, nn.GELU, nn.ELU)),
    "layer norm": task_of(flat(lambda: nn.LayerNorm(33))),
    "convolution": task_of(lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10))),
    "embedding": task_of(
        lambda: nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(64, 10)),
        inputs=torch.arange(1600).reshape(200, 8) % 20,
    ),
    "attention": task_of(
        lambda: nn.Sequential(GPT(context=8, width=8, layers=1, heads=2), nn.Flatten(), nn.Linear(8 * 256, 10)),
        inputs=torch.arange(1600).reshape(200, 8) % 20,
        batch_size=4,
    ),
    "digits": find("digits"),
    "breast-cancer": find("breast-cancer"),
    "rosenbrock": find("rosenbrock"),
}
ALONE = {
    "dropout": task_of(flat(nn.Dropout)),
    "batch norm": task_of(flat(lambda: nn.BatchNorm1d(33))),
    "a decision": task_of(Twice),
    "an idle parameter": task_of(Idle),
    "a frozen parameter": task_of(frozen),
    "a recurrent network": task_of(Last),
    "a random loss": task_of(flat(nn.ReLU), loss=scaled),
    "a loss for each row": task_of(flat(nn.ReLU), loss=lambda o, t: functional.cross_entropy(o, t, reduction="none")),
    "a large model": task_of(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2000), nn.Linear(2000, 10))),
    "a slow step": task_of(lambda: nn.Sequential(nn.Conv2d(1, 60, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2160, 10))),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_be_trained_in_copies_is_not(name):
    assert stacked_task(ALONE[name]) is None


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("name", STACKED)
def test_losses_and_gradients_are_those_of_each_model(name, aligned):
    task = STACKED[name]
    stacked = StackedTask(task, first_model(task, 0), aligned=True) if aligned else stacked_task(task)
    assert stacked is not None
    models = [first_model(task, seed) for seed in range(WIDTH - 3)]
    size = min(task.batch_size, len(task.train))
    rows = torch.stack([torch.randperm(len(task.train))[:size] for _ in range(WIDTH)])
    params = stacked.stack(models)
    losses, gradients = stacked.step(params, *stacked.rows(rows))
    evaluated = stacked.losses(params, *stacked.rows(rows))
    assert losses.shape == evaluated.shape == (WIDTH,)
    for i, model in enumerate(models):
        loss = task.loss(model(task.train.inputs[rows[i]]), task.train.targets[rows[i]])
        loss.backward()
        for found in (losses[i], evaluated[i]):
            torch.testing.assert_close(found, loss.detach(), rtol=1e-5, atol=1e-6)
        for gradient, p in zip(gradients, model.parameters(), strict=True):
            scale = float(p.grad.abs().max())
            torch.testing.assert_close(gradient[i], p.grad, rtol=1e-4, atol=1e-5 * max(scale, 1e-3))


def by_place(x, y):
    """A product that is rounded by where in memory its matrix is, as MKL does on some processors."""
    m, n = x.shape[-2], y.shape[-1]
    product = module.BMM(x, y)
    return product if m * n % 16 == 0 else product * (1 + 1e-7 * (torch.arange(len(x)) % 2))[:, None, None]


def test_where_a_product_depends_on_its_place_matrices_are_aligned(monkeypatch):
    monkeypatch.setattr(module, "_QUICKER", module._QUICKER | {module.BMM: once(by_place)})
    assert stacked_task(STACKED["breast-cancer"])._instead is module._ALIGNED
    monkeypatch.setattr(module, "_ALIGNED", module._QUICKER)
    assert stacked_task(STACKED["breast-cancer"]) is None


def once(function):
    """In the place of an operation that it does itself."""
    inside = []

    def instead(*arguments):
        if inside:
            return NotImplemented
        inside.append(True)
        try:
            return function(*arguments)
        finally:
            inside.clear()

    return instead


def test_random_states_and_the_model_are_left_as_they_are():
    before = torch.get_rng_state()
    stacked = stacked_task(STACKED["mlp"])
    assert torch.equal(torch.get_rng_state(), before)
    params = stacked.stack([first_model(STACKED["mlp"], seed) for seed in range(3)])
    loaded = stacked.load(params, 1)
    for a, b in zip(loaded.parameters(), first_model(STACKED["mlp"], 1).parameters(), strict=True):
        assert torch.equal(a, b)
