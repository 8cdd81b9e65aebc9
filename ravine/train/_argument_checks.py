"""Checks what a Learner and a fit are given before anything is trained, and says in the user's terms what is wrong."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ravine._whole_numbers import whole
from ravine.errors import OptionError, an, kind_of, shown
from ravine.train import _metrics as metrics
from ravine.train import _rates as rates
from ravine.train._batches import Batches
from ravine.train._callback import HOOKS, Callback
from ravine.train._fit import length


def model(given: nn.Module) -> None:
    """A module with parameters."""
    if not isinstance(given, nn.Module):
        hint = " The model comes first: Learner(model, (train, valid), loss)." * isinstance(given, tuple | list)
        what = an(kind_of(given))
        if isinstance(given, type):
            what, hint = f"the class {given.__name__}", f" Make an instance: {given.__name__}(...)."
        raise OptionError(f"The model is {what}; a Learner trains a torch.nn.Module.{hint}")
    if next(given.parameters(), None) is None:
        raise OptionError(f"The model {type(given).__name__} has no parameters, so there is nothing to train.")


def trainable(given: nn.Module) -> None:
    """A module that is not frozen as a whole."""
    if not any(p.requires_grad for p in given.parameters()):
        raise OptionError(
            f"No parameter of the model {type(given).__name__} requires a gradient: all are frozen. "
            "Set requires_grad_(True) on what is to be trained."
        )


def data(given: Any) -> tuple[Iterable[Any], Iterable[Any] | None]:
    """The pair (train, valid)."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise OptionError(
            f"The data is {an(kind_of(given))}; give a pair (train, valid), with None for valid if there is none."
        )
    for name, part in zip(("training", "validation"), given, strict=True):
        if part is None and name == "validation":
            continue
        if isinstance(part, tuple) and len(part) == 2 and all(isinstance(x, Tensor | np.ndarray) for x in part):
            raise OptionError(
                f"The {name} data is a pair of arrays, and not of batches: give Batches(inputs, targets, batch_size)."
            )
        if isinstance(part, Dataset):
            raise OptionError(
                f"The {name} data is a dataset, {kind_of(part)}: give batches of it, torch.utils.data.DataLoader(dataset, 64, shuffle=True)."
            )
        if isinstance(part, Tensor) or not isinstance(part, Iterable):
            raise OptionError(
                f"The {name} data is {an(kind_of(part))}; give Batches(inputs, targets, batch_size) or a DataLoader."
            )
        if isinstance(part, Iterator):  # asked without iter(), for which a DataLoader draws a random number
            raise OptionError(
                f"The {name} data is {an(kind_of(part))} that can be gone through once only; every epoch needs it again. "
                "Give Batches, a DataLoader or a list."
            )
        if length(part) == 0:
            raise OptionError(
                f"The {name} data has no batches. Is it empty, or drop_last on with a batch larger than the data?"
            )
    return given[0], given[1]


def callbacks(given: Sequence[Callback]) -> list[Callback]:
    """A sequence of callbacks."""
    if isinstance(given, Callback | str) or not isinstance(given, Sequence):
        what = f"the class {given.__name__}" if isinstance(given, type) else an(kind_of(given))
        what = shown(given) if isinstance(given, str) else what
        one = f": callbacks=[{given.__name__}(...)]" if isinstance(given, type) else ""
        raise OptionError(f"callbacks is {what}; give a list of callbacks{one}.")
    for callback in given:
        if not isinstance(callback, Callback):
            if isinstance(callback, type):
                raise OptionError(
                    f"{shown(callback)} is not a ravine.train.Callback. Make an instance: {callback.__name__}(...)."
                )
            name = type(callback).__name__
            if any(hasattr(callback, hook) for hook in HOOKS):
                raise OptionError(
                    f"{an(name)} is not a ravine.train.Callback: write class {name}(ravine.train.Callback)."
                )
            raise OptionError(f"{shown(callback)} is not a ravine.train.Callback.")
    return list(given)


def loss(given: Any) -> Callable[..., Any]:
    """A loss that can be called."""
    if isinstance(given, type) or not callable(given):
        hint = f" Make an instance: {given.__name__}()." if isinstance(given, type) else ""
        if isinstance(given, tuple | list | Batches | DataLoader):
            hint = " The data come before it: Learner(model, (train, valid), loss)."
        if isinstance(given, Tensor):
            hint = " Data is one argument: Learner(model, (Batches(inputs, targets, 64), None), loss)."
        raise OptionError(f"The loss is {shown(given)}; it must be a function of outputs and targets.{hint}")
    metrics.refuse_swapped(given, "The loss", "loss=")
    function: Callable[..., Any] = given
    return function


def opt_func(given: Any) -> Callable[..., torch.optim.Optimizer]:
    """A function that makes an optimizer."""
    if isinstance(given, torch.optim.Optimizer) or not callable(given):
        ready = isinstance(given, torch.optim.Optimizer)
        what = f"an optimizer that is made already ({type(given).__name__})" if ready else shown(given)
        raise OptionError(
            f"opt_func is {what}; give what makes the optimizer, such as RMSprop or functools.partial(RMSprop, alpha=0.9)."
        )
    inner = given.func if isinstance(given, functools.partial) else given
    if isinstance(inner, type) and not issubclass(inner, torch.optim.Optimizer):
        raise OptionError(f"opt_func is the class {inner.__name__}, which is not a torch.optim.Optimizer.")
    made: Callable[..., torch.optim.Optimizer] = given
    return made


def folder(given: Any) -> Path | None:
    """A folder's path, or none."""
    if given is not None and not isinstance(given, str | os.PathLike):
        raise OptionError(f"folder {shown(given)}: give the path of a folder, or None to write nothing.")
    return None if given is None else Path(given)


@dataclass(frozen=True)
class FitOptions:
    """The checked arguments of a fit."""

    epochs: int
    lr: rates.Rates | None
    checkpoint_every: int | str | None
    resume: bool
    folder: Path | None


def fit_options(
    epochs: int,
    lr: Any,
    checkpoint_every: int | str | None,
    resume: bool,
    find_nonfinite: bool,
    folder: Path | None,
) -> FitOptions:
    """The arguments of a fit, checked."""
    number = whole(epochs)
    if number is None or number < 1:
        raise OptionError(f"epochs {shown(epochs)}: train for a whole number of epochs, at least 1.")
    if lr is not None:
        lr = rates.checked_rates(lr)
    every = checkpoint_every if isinstance(checkpoint_every, str | None) else whole(checkpoint_every)
    counts = isinstance(every, int) and every >= 1
    if checkpoint_every is not None and checkpoint_every != "epoch" and not counts:
        raise OptionError(
            f"checkpoint_every {shown(checkpoint_every)}: give a number of steps, at least 1, or 'epoch' for every epoch."
        )
    for name, switch in (("resume", resume), ("find_nonfinite", find_nonfinite)):
        if not isinstance(switch, bool | np.bool_):
            raise OptionError(f"{name} {shown(switch)}: give True or False.")
    if (checkpoint_every or resume) and folder is None:
        what = "resume" if resume else "checkpoint_every"
        raise OptionError(f"{what} needs a folder for the checkpoint: Learner(..., folder='runs/first').")
    return FitOptions(number, lr, every, resume, folder)
