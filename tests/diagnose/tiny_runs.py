"""Small real trainings in a plain loop, and what is known about them, computed by torch in float64."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.diagnose._evidence import Evidence
from ravine.train import Batches
from ravine.watch._history import FIGURES, History
from ravine.watch._hyper_log import HyperLog

#: Inputs and targets.
Rows = tuple[Tensor, Tensor]
MOST_ROWS = 64


def train(
    model: nn.Module,
    data: Iterable[Rows],
    loss_func: Callable[[Tensor, Tensor], Tensor],
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    epochs: int,
    *,
    valid: Rows | None = None,
    each_step: Callable[[torch.optim.Optimizer, int], None] | None = None,
    limit: int | None = None,
) -> Evidence:
    """Train, and give the Evidence of it.

    Args:
        data: gives (inputs, targets) each time it is iterated over.
        optimizer: makes one from the parameters.
        valid: inputs and targets to measure loss and accuracy on after each epoch.
        each_step: called with the optimizer and the number of the step, from 0, before each.
        limit: stop after so many steps.
    """
    named = dict(model.named_parameters())
    made = optimizer([p for p in named.values() if p.requires_grad])
    hypers, epoch_rows = HyperLog(), list[dict[str, float]]()
    losses, rows = list[float](), list[list[dict[str, float]]]()
    first_nonfinite: dict[str, int] = {}
    units = Units(model)
    for epoch in range(epochs):
        began = len(losses)
        model.train()
        for inputs, targets in data:
            if len(losses) == limit:
                break
            made.zero_grad()
            loss = loss_func(model(inputs), targets)
            loss.backward()
            if each_step:
                each_step(made, len(losses))
            hypers.observe(len(losses), made.param_groups, made.defaults)
            before = [p.detach().double().clone() for p in named.values()]
            made.step()
            rows.append(figures(list(named.values()), before))
            losses.append(loss.item())
            for name, row in zip(named, rows[-1], strict=True):
                if row["nonfinite"]:
                    first_nonfinite.setdefault(name, len(losses))
        row = {"epoch": epoch + 1, "train_loss": float(np.mean(losses[began:]))}
        if valid is not None:
            model.eval()
            with torch.no_grad():
                outputs = model(valid[0])
                row["valid_loss"] = loss_func(outputs, valid[1]).item()
                if valid[1].dtype == torch.int64:
                    row["accuracy"] = (outputs.argmax(-1) == valid[1]).double().mean().item()
                else:
                    row["accuracy"] = ((outputs > 0) == (valid[1] > 0.5)).double().mean().item()
        epoch_rows.append({**row, "time": 0.0})
        if len(losses) == limit:
            break
    return Evidence(
        optimizer=type(made).__name__,
        losses=np.array(losses),
        epochs=epoch_rows,
        hypers={name: hypers.values(name, len(losses)) for name in hypers.changes},
        history=gathered(named, rows),
        dims=tuple(p.ndim for p in named.values()),
        dtypes=tuple(str(p.dtype).removeprefix("torch.") for p in named.values()),
        trained=tuple(p.requires_grad for p in named.values()),
        dead_units=units.take(),
        first_nonfinite=first_nonfinite,
    )


def figures(parameters: Sequence[nn.Parameter], before: Sequence[Tensor]) -> list[dict[str, float]]:
    """What one step did to each parameter."""
    grads = [
        torch.zeros_like(b) if p.grad is None else p.grad.double() for p, b in zip(parameters, before, strict=True)
    ]
    updates = [p.detach().double() - b for p, b in zip(parameters, before, strict=True)]
    looked_at = [*grads, *before, *updates]
    norms, highest = (torch.stack(torch._foreach_norm(looked_at, order)).tolist() for order in (2, math.inf))
    made = []
    for i, (parameter, grad) in enumerate(zip(parameters, grads, strict=True)):
        row = {"steps": float(parameter.grad is not None), "nonfinite": 0.0}
        row |= {"state_rounding": 0.0, "param_rounding": 0.0}
        for place, name in enumerate(("grad", "param", "update")):
            row[f"{name}_norm"] = norms[i + place * len(grads)]
            row[f"{name}_max"] = highest[i + place * len(grads)]
        if not math.isfinite(row["grad_max"]):
            row["nonfinite"] = float((~grad.isfinite()).sum())
        made.append(row)
    return made


def gathered(named: Mapping[str, nn.Parameter], steps: Sequence[list[dict[str, float]]]) -> History:
    """The history of these steps, in at most MOST_ROWS rows."""
    each = math.ceil(len(steps) / MOST_ROWS)
    by_name: dict[str, list[np.ndarray]] = {name: [] for name in FIGURES}
    first = np.arange(0, len(steps), each)
    for start in first:
        part = steps[start : start + each]
        for name in FIGURES:
            values = np.array([[row[name] for row in rows] for rows in part])
            if name.endswith("_norm"):
                good = np.where(np.isfinite(values), values, np.nan) ** 2
                count = np.isfinite(good).sum(0)
                by_name[name].append(np.sqrt(np.where(count, np.nansum(good, 0) / np.maximum(count, 1), np.nan)))
            else:
                by_name[name].append(values.max(0) if name.endswith("_max") else values.sum(0))
    arrays = {name: np.array(values) for name, values in by_name.items()}
    last = np.minimum(first + each, len(steps))
    return History(tuple(named), tuple(p.numel() for p in named.values()), first + 1, last, **arrays)


class Units:
    """Of every layer but the first: how many of its inputs there are, and how many were 0 in the last batches."""

    BATCHES = 4

    def __init__(self, model: nn.Module) -> None:
        self.seen: dict[str, list[Tensor]] = {}
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.register_forward_pre_hook(lambda layer, inputs, name=name: self.see(layer, name, inputs[0]))

    def see(self, layer: nn.Module, name: str, inputs: Tensor) -> None:
        if layer.training:
            axis = 1 if isinstance(layer, nn.Conv2d) else -1
            moved = inputs.detach().movedim(axis, -1).flatten(0, -2)
            self.seen[name] = [*self.seen.get(name, []), (moved != 0).any(0)][-self.BATCHES :]

    def take(self) -> dict[str, tuple[int, int]]:
        layers = {name: torch.stack(parts).any(0) for name, parts in list(self.seen.items())[1:]}
        return {name: (alive.numel(), int((~alive).sum())) for name, alive in layers.items()}


def mlp(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


@cache
def read() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits."""
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    return inputs, targets


def digits(batch_size: int = 64, seed: int = 0, rows: int | None = None) -> tuple[Batches, Rows]:
    """The digits in batches to train on, and those to validate on."""
    pixels, numbers = read()
    inputs = torch.tensor((pixels - pixels.mean()) / pixels.std()).float()
    targets = torch.tensor(numbers)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    kept, valid = order[360:], order[:360]
    kept = kept[:rows]
    return Batches(inputs[kept], targets[kept], batch_size, seed=seed), (inputs[valid], targets[valid])


class Changed:
    """The batches of ``data``, each made into another by ``change(inputs, number of the batch)``."""

    def __init__(self, data: Iterable[Rows], change: Callable[[Tensor, int], Tensor]) -> None:
        self.data, self.change, self.count = data, change, 0

    def __iter__(self) -> Iterator[Rows]:
        for inputs, targets in self.data:
            yield self.change(inputs, self.count), targets
            self.count += 1


def on_digits(
    model: Callable[[], nn.Module],
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    *,
    epochs: int = 6,
    seed: int = 0,
    change: Callable[[Tensor, int], Tensor] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    **options: Any,
) -> Evidence:
    """Train a classifier of digits that ``model()`` makes from this seed."""
    torch.manual_seed(seed)
    batches, valid = digits(seed=seed)
    data = Changed(batches, change) if change else batches
    return train(model(), data, loss, optimizer, epochs, **{"valid": valid, **options})


def times(factor: float, data: Rows) -> Rows:
    """Inputs and targets with inputs that are multiplied."""
    return factor * data[0], data[1]


def of_probabilities(outputs: Tensor, targets: Tensor) -> Tensor:
    """nll_loss without its logarithm: bounded by -1."""
    return functional.nll_loss(outputs.softmax(1), targets)
