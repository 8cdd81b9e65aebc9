"""Looks at what a Learner is given before anything is trained, and says in the user's terms what is wrong with it."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ravine.errors import OptionError, TrainingError, nearest
from ravine.optim import Optimizer
from ravine.train._callback import Callback

if TYPE_CHECKING:
    from ravine.train._loop import Loop

Stepper = Callable[[], Any]


def model(given: nn.Module) -> None:
    """A module with parameters."""
    if not isinstance(given, nn.Module):
        raise OptionError(f"The model is a {kind(given)}; a Learner trains a torch.nn.Module.")
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
            f"The data is a {kind(given)}; give a pair (train, valid), with None for valid if there is none."
        )
    for name, part in zip(("training", "validation"), given, strict=True):
        if part is None and name == "validation":
            continue
        if isinstance(part, Tensor) or not isinstance(part, Iterable):
            raise OptionError(
                f"The {name} data is a {kind(part)}; give Batches(inputs, targets, batch_size) or a DataLoader."
            )
        if isinstance(part, Iterator):  # asked without iter(), for which a DataLoader draws a random number
            raise OptionError(
                f"The {name} data is a {kind(part)} that can be gone through once only; every epoch needs it again. "
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
        raise OptionError(f"callbacks is a {kind(given)}; give a list of callbacks.")
    for callback in given:
        if not isinstance(callback, Callback):
            hint = f" Make an instance: {callback.__name__}(...)." if isinstance(callback, type) else ""
            raise OptionError(f"{callback!r} is no ravine.train.Callback.{hint}")
    return list(given)


def function(given: Any) -> Callable[..., Any]:
    """A loss that can be called."""
    if isinstance(given, type) or not callable(given):
        hint = f" Make an instance: {given.__name__}()." if isinstance(given, type) else ""
        raise OptionError(f"The loss is {given!r}; it must be a function of outputs and targets.{hint}")
    found: Callable[..., Any] = given
    return found


def opt_func(given: Any) -> Callable[..., torch.optim.Optimizer]:
    """A function that makes an optimizer."""
    if isinstance(given, torch.optim.Optimizer) or not callable(given):
        raise OptionError(
            f"opt_func is a {kind(given)}; give what makes the optimizer, such as RMSprop or "
            "functools.partial(RMSprop, alpha=0.9)."
        )
    inner = given.func if isinstance(given, functools.partial) else given
    if isinstance(inner, type) and not issubclass(inner, torch.optim.Optimizer):
        raise OptionError(f"opt_func is the class {inner.__name__}, which is no torch.optim.Optimizer.")
    made: Callable[..., torch.optim.Optimizer] = given
    return made


def folder(given: Any) -> Path | None:
    """A folder's path, or none."""
    if given is not None and not isinstance(given, str | os.PathLike):
        raise OptionError(f"folder {given!r}: give the path of a folder, or None to write nothing.")
    return None if given is None else Path(given)


def make_optimizer(make: Callable[..., torch.optim.Optimizer], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the model's parameters; ours are also told their names."""
    inner = make.func if isinstance(make, functools.partial) else make
    ours = isinstance(inner, type) and issubclass(inner, Optimizer)
    found = make(model.named_parameters() if ours else model.parameters())
    if not isinstance(found, torch.optim.Optimizer):
        raise OptionError(f"opt_func gave a {kind(found)}; it must give a torch.optim.Optimizer.")
    mine = {id(p) for p in model.parameters()}
    if not any(id(p) in mine for group in found.param_groups for p in group["params"]):
        raise OptionError(
            "opt_func gave an optimizer of other parameters than the model's; it gets the model's as its argument."
        )
    return found


@dataclass(frozen=True)
class Plan:
    """The checked arguments of a fit."""

    epochs: int
    lr: float | None
    checkpoint_every: int | str | None
    resume: bool
    folder: Path | None


def plan(
    epochs: int,
    lr: float | None,
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
    return Plan(epochs, lr, checkpoint_every, resume, folder)


def rate(lr: Any) -> float:
    """A learning rate that trains something."""
    if isinstance(lr, Tensor) and lr.numel() == 1:
        lr = lr.item()
    if not isinstance(lr, Real) or isinstance(lr, bool) or not math.isfinite(lr) or lr <= 0:
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


def stepper(active: Sequence[Callback], learn: Any) -> Stepper | None:
    """The function of the one callback that takes the step, or None."""
    found = [(c, c.stepper(learn)) for c in active if type(c).stepper is not Callback.stepper]
    found = [(c, step) for c, step in found if step is not None]
    if len(found) > 1:
        names = " and ".join(type(c).__name__ for c, _ in found)
        raise OptionError(f"{names} both want to take the optimizer's step; leave out one.")
    return found[0][1] if found else None


def plain_step(learn: Loop) -> Stepper:
    """The optimizer's own step; one like LBFGS gets the closure it asks for, which evaluates the batch again."""
    if not needs_closure(learn.optimizer):
        return learn.optimizer.step

    def again() -> Tensor:
        before = learn.loss  # what is recorded is the loss that the step began with
        learn.optimizer.zero_grad()
        learn._forward()
        learn.objective.backward()
        learn.loss = before
        return learn.objective.detach()

    return functools.partial(learn.optimizer.step, again)


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step evaluates the batch again, as that of LBFGS."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def one_evaluation(callback: Callback, learn: Loop) -> None:
    """The callback changes gradients once before the step, so the step must not compute them anew."""
    if needs_closure(learn.optimizer):
        raise OptionError(
            f"{type(callback).__name__} cannot be used with {type(learn.optimizer).__name__}, whose step computes "
            "gradients of its own. Leave it out, or take another optimizer."
        )


def column(callback: Callback, learn: Loop, name: str) -> None:
    """Say before anything is trained if the table will have no such column.

    Raises:
        OptionError: it will not.
    """
    columns = learn._columns()
    if name not in columns:
        hint = " There is no validation data." if learn.valid is None else ""
        raise OptionError(
            f"{type(callback).__name__} watches {name!r}, which is no column.{hint} {nearest(name, columns)}"
        )


def pair(batch: Any, device: torch.device) -> tuple[Any, Any]:
    """The batch's inputs and targets, on the model's device."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise OptionError(f"A batch of the data is a {kind(batch)}; it must be a pair (inputs, targets).")
    inputs, targets = batch
    if type(inputs) is Tensor and type(targets) is Tensor:
        if inputs.device == device and targets.device == device:
            return inputs, targets
        return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
    moved: tuple[Any, Any] = pytree.tree_map_only(Tensor, lambda t: t.to(device, non_blocking=True), (inputs, targets))
    return moved


def loss(value: Any) -> Tensor:
    """A loss that can be differentiated, as a tensor without dimensions."""
    if not isinstance(value, Tensor):
        raise TrainingError(f"The loss is a {kind(value)}; it must be a tensor of one number, computed by torch.")
    if value.ndim and value.numel() != 1:
        raise TrainingError(
            f"The loss has shape {tuple(value.shape)}; it must be one number. Take its mean: reduction='mean'."
        )
    if not value.requires_grad:
        raise TrainingError(
            "The loss does not depend on any parameter that requires a gradient. Was it detached, computed under "
            "no_grad or by .item(), or from a model that is frozen?"
        )
    return value.reshape(()) if value.ndim else value


def rows(targets: Any) -> int:
    """How many rows a batch has: the length of its first tensor that has one."""
    if type(targets) is Tensor and targets.ndim:
        return len(targets)
    for leaf in pytree.tree_leaves(targets):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    return 1


def kind(value: Any) -> str:
    """What it is, for an error."""
    if isinstance(value, Mapping | tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__
