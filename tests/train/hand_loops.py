"""The training loop as everybody writes it, to compare a Learner with; holds no tests."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ravine.train import Learner

Function = Callable[..., Any]


def rows(
    count: int = 50, width: int = 6, classes: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, width, generator=generator, dtype=dtype)
    return inputs, torch.randint(classes, (count,), generator=generator)


def mlp(dtype: torch.dtype = torch.float32, seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def by_hand(
    model: nn.Module, loader: Iterable[Any], loss: Function, optimizer: torch.optim.Optimizer, epochs: int = 2
) -> list[float]:
    """The loop that everybody writes."""
    losses = []
    for _ in range(epochs):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            if isinstance(inputs, dict):
                outputs = model(**inputs)
            elif isinstance(inputs, tuple | list):
                outputs = model(*inputs)
            else:
                outputs = model(inputs)
            value = loss(outputs, targets)
            value.backward()
            optimizer.step()
            losses.append(value.item())
    return losses


def same(a: Any, b: Any) -> bool:
    """Whether the two hold the same tensors and numbers, bit for bit."""
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def check_equal(
    model: nn.Module,
    loader: Iterable[Any],
    loss: Function,
    opt_func: Function,
    hand_opt: Function | None = None,
    epochs: int = 2,
    **options: Any,
) -> Learner:
    """Train one copy by hand and one by a Learner."""
    hand = copy.deepcopy(model)
    make = hand_opt or opt_func
    optimizer = make(hand.parameters())
    torch.manual_seed(5)
    expected = by_hand(hand, copy.deepcopy(loader), loss, optimizer, epochs)
    torch.manual_seed(5)
    learn = Learner(model, (loader, None), loss, opt_func, metrics=(), quiet=True, **options)
    learn.fit(epochs)
    assert learn.recorder.losses.tolist() == expected
    assert same(dict(model.state_dict()), dict(hand.state_dict()))
    assert same(learn.optimizer.state_dict()["state"], optimizer.state_dict()["state"])
    assert len(set(expected)) == len(expected) > epochs  # something was trained
    return learn


def lists(seed: int = 0, dtype: torch.dtype = torch.float32, classes: int = 3) -> list[tuple[Tensor, Tensor]]:
    inputs, targets = rows(seed=seed, dtype=dtype, classes=classes)
    return list(zip(inputs.split(16), targets.split(16), strict=True))  # 16, 16, 16 and 2
