"""What is logged: the figures of the last step as one flat dict, from what the watch holds anyway."""

from __future__ import annotations

from typing import Any

import torch

import ravine.optim
from ravine.errors import OptionError, ParameterError
from ravine.optim import Optimizer, unwrap

#: Of all parameters together.
_TOTALS = ("grad_norm", "param_norm", "update_norm", "ratio")


def figures(optimizer: Any, *, parameters: bool = False, prefix: str = "watch/") -> dict[str, float]:
    """The last step of an optimizer in numbers, by names that every logger takes; empty before the first step.

    ``watch/grad_norm``, ``param_norm``, ``update_norm`` and ``ratio`` are those of all parameters together, ``watch/nonfinite``
    is how many elements of gradients were NaN or infinite, ``watch/skipped`` how many steps were skipped so far. If states or
    parameters are kept in 16 or 8 bits, ``watch/rounding`` is the largest loss by rounding.

    Reading waits for a GPU, so read every few steps. Where parameters are sharded, all processes must read.

    Args:
        optimizer: one of ``ravine.optim``, also in a trainer or its wrapper.
        parameters: add ``watch/grad_norm/NAME`` and ``watch/ratio/NAME`` for each parameter.
        prefix: what the names begin with.

    Raises:
        OptionError: there is no Ravine optimizer, or it was made with ``watch=False``.
    """
    last = watched(optimizer).watch.last
    if not last.rows:
        return {}
    by_name = {figure: getattr(last, figure) for figure in _TOTALS}
    by_name |= {"nonfinite": float(last.nonfinite), "skipped": float(last.skipped)}
    rounding = [row.rounding for row in last if row.rounding > 0]
    if rounding:
        by_name["rounding"] = max(rounding)
    if parameters:
        by_name |= {f"{figure}/{row.name}": getattr(row, figure) for figure in ("grad_norm", "ratio") for row in last}
    return {f"{prefix}{figure}": value for figure, value in by_name.items()}


def name(optimizer: Any, model: torch.nn.Module) -> Optimizer:
    """Give the optimizer's parameters the model's names, which most trainers drop; returns the optimizer inside the trainer.

    Raises:
        OptionError: there is no Ravine optimizer.
        ParameterError: none of its parameters is one of the model.
    """
    ours = watched(optimizer)
    if not ours.name_parameters(model):
        raise ParameterError(
            f"none of the parameters of this {type(ours).__name__} is one of this {type(model).__name__}: give the model that it trains"
        )
    return ours


def watched(optimizer: Any) -> Optimizer:
    """The Ravine optimizer inside a trainer, which must have a watch.

    Raises:
        OptionError: there is none, or it was made with ``watch=False``.
    """
    try:
        ours = unwrap(optimizer)
    except OptionError as error:
        inside = optimizer
        while (inner := _inner(inside)) is not None:
            inside = inner
        if not isinstance(inside, torch.optim.Optimizer):
            raise
        raise OptionError(_no_record(type(inside))) from error
    if not ours.watch.on:
        raise OptionError(
            f"this {type(ours).__name__} was made with watch=False, so there is nothing to log: leave watch=False out"
        )
    return ours


def _no_record(cls: type) -> str:
    """What to write for an optimizer that is not Ravine's."""
    whose = "torch's " if cls.__module__.startswith("torch.") else ""
    text = f"{whose}{cls.__name__} records nothing of its steps, so there is nothing to log."
    if whose and cls.__name__ in ravine.optim.__all__:
        return (
            f"{text} Write ravine.optim.{cls.__name__} for torch.optim.{cls.__name__}: it takes the same arguments and makes the same "
            "steps (ravine.optim lists what there is)."
        )
    return f"{text} Take an optimizer of ravine.optim."


def _inner(thing: Any) -> torch.optim.Optimizer | None:
    """The optimizer of torch that a trainer or a wrapper holds."""
    held = (getattr(thing, name, None) for name in ("_optimizer", "optimizer_", "optimizer", "opt"))
    return next((one for one in held if isinstance(one, torch.optim.Optimizer) and one is not thing), None)
