"""What a training does with its optimizer: makes it, sets its learning rate, clears gradients, and steps."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import OptionError, an, kind_of
from ravine.optim import Optimizer
from ravine.optim._engine.in_backward import makes_steps_in_backward
from ravine.train import _parallel as parallel
from ravine.train import _rates as rates
from ravine.train._callback import Callback
from ravine.train._fit import Fit
from ravine.train._untrained import own_parameters

Step = Callable[[], Any]
"""Makes a step; returns False if it did not."""


def make_optimizer(
    make: Callable[..., torch.optim.Optimizer], model: nn.Module, lr: rates.Rates | None = None, loss: Any = None
) -> torch.optim.Optimizer:
    """The optimizer of the parameters of the model, and of a loss that has some to learn; ours also get their names.

    Args:
        make: makes it.
        model: whose parameters it steps.
        lr: what the optimizer is made with where it needs a rate and ``make`` has none.
        loss: may have parameters of its own.
    """
    own = own_parameters(loss, model)
    if own and parallel.size() > 1:
        raise OptionError(
            f"The loss has parameters to train ({own[0][0]}, ...), whose gradients are not averaged over several processes. Make "
            "them parameters of the model."
        )
    inner = make.func if isinstance(make, functools.partial) else make
    ours = isinstance(inner, type) and issubclass(inner, Optimizer)

    def made(**options: Any) -> torch.optim.Optimizer:
        named = chain(model.named_parameters(), own)
        return make(named if ours else chain(model.parameters(), (p for _, p in own)), **options)

    try:
        optimizer = made()
    except (TypeError, ValueError) as error:
        if lr is None or rates.is_given(make):
            raise
        try:
            optimizer = made(lr=rates.listed(lr)[0])
        except (TypeError, ValueError):
            raise error from None
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise OptionError(f"opt_func gave {an(kind_of(optimizer))}; it must give a torch.optim.Optimizer.")
    ids = {id(p) for p in model.parameters()}
    if not any(id(p) in ids for group in optimizer.param_groups for p in group["params"]):
        raise OptionError(
            "opt_func gave an optimizer of other parameters than the model's; it gets the model's as its argument."
        )
    return optimizer


def rate_of(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of the first group; NaN where there is none."""
    return float(optimizer.param_groups[0].get("lr", math.nan))


def stepped_parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The optimizer's parameters: the gradients of others are never set to zero, and only accumulate."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def zero_grad(optimizer: torch.optim.Optimizer) -> None:
    """``optimizer.zero_grad()``; where that is torch's own or ours, what it does without the profiling around it (10 us)."""
    if type(optimizer).zero_grad not in (torch.optim.Optimizer.zero_grad, Optimizer.zero_grad):
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None


def step_of(callbacks: Sequence[Callback], fit: Fit) -> Step | None:
    """The function of the one callback that makes the steps; None if there is none.

    Raises:
        OptionError: there are two, or the optimizer makes its steps in backward.
    """
    if makes_steps_in_backward(fit.optimizer):
        raise OptionError(
            "the optimizer makes its steps in backward (in_backward()), before callbacks can clip or accumulate gradients: call its "
            "remove(), or train in a loop of your own"
        )
    steps = [(c, c.stepper(fit)) for c in callbacks if type(c).stepper is not Callback.stepper]
    steps = [(c, step) for c, step in steps if step is not None]
    if len(steps) > 1:
        names = " and ".join(type(c).__name__ for c, _ in steps)
        raise OptionError(f"{names} both want to make the optimizer's step; leave out one.")
    return steps[0][1] if steps else None


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step evaluates the batch again, as that of LBFGS."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def refuse_closure(callback: Callback, optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer whose step computes gradients again: the callback changes them once, before the step.

    Raises:
        OptionError: it is such an optimizer.
    """
    if needs_closure(optimizer):
        raise OptionError(
            f"{type(callback).__name__} cannot be used with {type(optimizer).__name__}, whose step computes "
            "gradients of its own. Leave it out, or take another optimizer."
        )
