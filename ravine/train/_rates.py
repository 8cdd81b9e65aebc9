"""The learning rates of a fit: checked, set for each parameter group, and said where a user might take them for others."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ravine.errors import OptionError, shown

Rates = float | list[float]
"""One learning rate for all parameter groups, or one for each."""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def checked_rate(lr: Any) -> float:
    """A learning rate as a float, if it is finite and above 0."""
    if isinstance(lr, Tensor) and lr.numel() == 1:
        lr = lr.item()
    if not isinstance(lr, Real) or isinstance(lr, bool) or not math.isfinite(lr) or lr <= 0:
        quotes = f" Write it without quotes: lr={lr.strip()}." if isinstance(lr, str) and _is_number(lr) else ""
        raise OptionError(f"lr {shown(lr)}: a learning rate is a finite number above 0.{quotes}")
    return float(lr)


def checked_rates(lr: Any) -> Rates:
    """A learning rate, or a list of one for each parameter group, as :func:`checked_rate`."""
    if isinstance(lr, slice):
        raise OptionError(f"lr {lr!r}: give a list of a rate for each parameter group: lr=[1e-4, 1e-2].")
    if isinstance(lr, list | tuple) and lr:
        return [checked_rate(one) for one in lr]
    return checked_rate(lr)


def listed(lr: Rates) -> list[float]:
    """The rates as a list."""
    return lr if isinstance(lr, list) else [lr]


def set_rate(optimizer: torch.optim.Optimizer, lr: Rates) -> None:
    """Make it the rate of every parameter group, or give each its own.

    Raises:
        OptionError: there is no learning rate, or another number of groups.
    """
    groups = optimizer.param_groups
    rates = lr if isinstance(lr, list) else [lr] * len(groups)
    if len(rates) != len(groups):
        raise OptionError(
            f"lr has {len(rates)} rates, and the optimizer {len(groups)} parameter group{'s' * (len(groups) != 1)}: give "
            "one for each, or a single number for all."
        )
    for group, rate in zip(groups, rates, strict=True):
        if "lr" not in group:
            raise OptionError(f"{type(optimizer).__name__} has no learning rate; leave out lr.")
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def rates_of(optimizer: torch.optim.Optimizer) -> list[float]:
    """The learning rates of all groups; empty where a group has none."""
    groups = optimizer.param_groups
    return [float(group["lr"]) for group in groups] if all("lr" in group for group in groups) else []


def rates_text(rates: Sequence[float]) -> str:
    """``0.01``, or ``0.0001 and 0.01`` where groups differ."""
    texts = [f"{rate:.4g}" for rate in rates]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts[:-1]) + f" and {texts[-1]}"


def is_given(make: Callable[..., torch.optim.Optimizer]) -> bool:
    """Whether what makes the optimizer already has a learning rate for it."""
    return isinstance(make, functools.partial) and "lr" in make.keywords


def begin_with(
    lr: Rates | None,
    optimizer: torch.optim.Optimizer,
    make: Callable[..., torch.optim.Optimizer],
    scheduled: bool,
    trained: bool,
) -> str:
    """Set the learning rate that a fit begins with.

    Args:
        lr: what the fit was given; None leaves what the optimizer has.
        optimizer: the optimizer.
        make: what made it.
        scheduled: whether a schedule gives the rate of every step.
        trained: whether the optimizer has been used in another fit.

    Returns:
        A sentence where a user might take the rate for another one; else nothing.
    """
    before = rates_of(optimizer)
    if lr is not None:
        set_rate(optimizer, lr)
        if isinstance(lr, list) or len(set(before)) < 2:
            return ""
        return f"lr {lr:.4g} for all {len(before)} parameter groups, which had {rates_text(before)}; a list gives each its own"
    if not before or scheduled or (is_given(make) and not trained):
        return ""
    name = type(optimizer).__name__
    why = f"what an earlier fit left in {name}" if trained else f"what {name} was made with"
    return f"lr {rates_text(before)}: {why}, as this fit was given none"
