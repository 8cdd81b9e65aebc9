"""Looks at what a Learner is given before anything is trained, and says in the user's terms what is wrong with it."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ravine.errors import OptionError, TrainingError
from ravine.optim import Optimizer
from ravine.train.callback import Callback

if TYPE_CHECKING:
    from ravine.train.loop import Loop

Stepper = Callable[[], Any]


def model(given: nn.Module) -> None:
    """A module with parameters."""
    if not isinstance(given, nn.Module):
        raise OptionError(f"The model is a {_kind(given)}; a Learner trains a torch.nn.Module.")
    if next(given.parameters(), None) is None:
        raise OptionError(f"The model {type(given).__name__} has no parameters, so there is nothing to train.")


def trainable(given: nn.Module) -> None:
    """A module of which something is not frozen."""
    if not any(p.requires_grad for p in given.parameters()):
        raise OptionError(
            f"No parameter of the model {type(given).__name__} requires a gradient: all are frozen. "
            "Set requires_grad_(True) on what is to be trained."
        )


def data(given: Any) -> tuple[Iterable[Any], Iterable[Any] | None]:
    """The pair (train, valid)."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise OptionError(
            f"The data is a {_kind(given)}; give a pair (train, valid), with None for valid if there is none."
        )
    for name, part in zip(("training", "validation"), given, strict=True):
        if part is None and name == "validation":
            continue
        if isinstance(part, Tensor) or not isinstance(part, Iterable):
            raise OptionError(
                f"The {name} data is a {_kind(part)}; give Batches(inputs, targets, batch_size) or a DataLoader."
            )
        if iter(part) is part:
            raise OptionError(
                f"The {name} data is a {_kind(part)} that can be gone through once only; every epoch needs it again. "
                "Give Batches, a DataLoader or a list."
            )
        if length(part) == 0:
            raise OptionError(
                f"The {name} data has no batches. Is it empty, or drop_last on with a batch larger than the data?"
            )
    return given[0], given[1]


def length(loader: Any) -> int | None:
    """How many batches there are, where the data says."""
    try:
        return len(loader)
    except TypeError:  # an IterableDataset's DataLoader has __len__, which raises
        return None


def callbacks(given: Sequence[Callback]) -> list[Callback]:
    """A sequence of callbacks."""
    if isinstance(given, Callback) or not isinstance(given, Sequence):
        raise OptionError(f"callbacks is a {_kind(given)}; give a list of callbacks.")
    for callback in given:
        if not isinstance(callback, Callback):
            hint = " Make an instance: add ()." if isinstance(callback, type) else ""
            raise OptionError(f"{callback!r} is no ravine.train.Callback.{hint}")
    return list(given)


def opt_func(given: Any) -> Callable[..., torch.optim.Optimizer]:
    """A function that makes an optimizer."""
    if isinstance(given, torch.optim.Optimizer) or not callable(given):
        raise OptionError(
            f"opt_func is a {_kind(given)}; give what makes the optimizer, such as RMSprop or "
            "functools.partial(RMSprop, alpha=0.9)."
        )
    made: Callable[..., torch.optim.Optimizer] = given
    return made


def make_optimizer(make: Callable[..., torch.optim.Optimizer], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the model's parameters; ours are also told their names."""
    inner = make.func if isinstance(make, functools.partial) else make
    ours = isinstance(inner, type) and issubclass(inner, Optimizer)
    found = make(model.named_parameters() if ours else model.parameters())
    if not isinstance(found, torch.optim.Optimizer):
        raise OptionError(f"opt_func gave a {_kind(found)}; it must give a torch.optim.Optimizer.")
    return found


@dataclass(frozen=True)
class Plan:
    """The checked arguments of a fit."""

    epochs: int
    lr: float | None
    schedule: str
    checkpoint_every: int | str | None
    resume: bool
    folder: Path | None


def plan(
    epochs: int,
    lr: float | None,
    schedule: Callback | str | None,
    checkpoint_every: int | str | None,
    resume: bool,
    folder: Path | None,
) -> Plan:
    """The arguments of a fit, each of which means something."""
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise OptionError(f"epochs {epochs!r}: train for a whole number of epochs, at least 1.")
    if lr is not None:
        lr = rate(lr)
    counts = isinstance(checkpoint_every, int) and not isinstance(checkpoint_every, bool) and checkpoint_every >= 1
    if checkpoint_every is not None and checkpoint_every != "epoch" and not counts:
        raise OptionError(
            f"checkpoint_every {checkpoint_every!r}: give a number of steps, at least 1, or 'epoch' for every epoch."
        )
    if (checkpoint_every or resume) and folder is None:
        what = "resume" if resume else "checkpoint_every"
        raise OptionError(f"{what} needs a folder for the checkpoint: Learner(..., folder='runs/first').")
    named = schedule if isinstance(schedule, str) else repr(schedule) if schedule is not None else ""
    return Plan(epochs, lr, named, checkpoint_every, resume, folder)


def rate(lr: Any) -> float:
    """A learning rate that trains something."""
    if isinstance(lr, Tensor) and lr.numel() == 1:
        lr = lr.item()
    if not isinstance(lr, int | float) or isinstance(lr, bool) or not math.isfinite(lr) or lr <= 0:
        raise OptionError(f"lr {lr!r}: a learning rate is a finite number above 0.")
    return float(lr)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Make it the rate of every parameter group."""
    for group in optimizer.param_groups:
        if "lr" not in group:
            raise OptionError(f"{type(optimizer).__name__} has no learning rate; leave out lr.")
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def rate_of(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of the first group; NaN where there is none."""
    return float(optimizer.param_groups[0].get("lr", math.nan))


def stepper(active: Sequence[Callback], learn: Loop) -> Stepper | None:
    """The function of the one callback that takes the step, or None."""
    found = [(c, c.stepper(learn)) for c in active if type(c).stepper is not Callback.stepper]
    found = [(c, step) for c, step in found if step is not None]
    if len(found) > 1:
        names = " and ".join(type(c).__name__ for c, _ in found)
        raise OptionError(f"{names} both want to take the optimizer's step; leave out one.")
    return found[0][1] if found else None


def plain_step(learn: Loop) -> Stepper:
    """The optimizer's own step; one like LBFGS gets the closure it asks for, which evaluates the batch again."""
    closure = inspect.signature(type(learn.optimizer).step).parameters.get("closure")
    if closure is None or closure.default is not closure.empty:
        return learn.optimizer.step

    def again() -> Tensor:
        learn.optimizer.zero_grad()
        learn._forward()
        learn.objective.backward()
        return learn.loss

    return functools.partial(learn.optimizer.step, again)


def pair(batch: Any, device: torch.device) -> tuple[Any, Any]:
    """The batch's inputs and targets, on the model's device."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise OptionError(f"A batch of the data is a {_kind(batch)}; it must be a pair (inputs, targets).")
    inputs, targets = batch
    if type(inputs) is Tensor and type(targets) is Tensor:
        if inputs.device == device and targets.device == device:
            return inputs, targets
        return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
    moved: tuple[Any, Any] = pytree.tree_map_only(Tensor, lambda t: t.to(device, non_blocking=True), (inputs, targets))
    return moved


def loss(value: Any) -> None:
    """A loss that can be differentiated."""
    if not isinstance(value, Tensor):
        raise TrainingError(f"The loss is a {_kind(value)}; it must be a tensor of one number, computed by torch.")
    if value.ndim and value.numel() != 1:
        raise TrainingError(
            f"The loss has shape {tuple(value.shape)}; it must be one number. Take its mean: reduction='mean'."
        )
    if not value.requires_grad:
        raise TrainingError(
            "The loss does not depend on any parameter that requires a gradient. Was it detached, computed under "
            "no_grad or by .item(), or from a model that is frozen?"
        )


def rows(targets: Any) -> int:
    """How many rows a batch has: the length of its first tensor that has one."""
    if type(targets) is Tensor and targets.ndim:
        return len(targets)
    for leaf in pytree.tree_leaves(targets):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    return 1


def _kind(value: Any) -> str:
    if isinstance(value, Mapping | tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__
