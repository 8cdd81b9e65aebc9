"""Refuses what the trainer and the optimizer would both do: clipping, and an average of the weights."""

from __future__ import annotations

from ravine.errors import OptionError
from ravine.optim import Optimizer


def clips(optimizer: Optimizer) -> float | None:
    """The norm that the optimizer clips to itself; None where it does not."""
    norms = (group.get("clip_norm") for group in optimizer.param_groups)
    return next((norm for norm in norms if norm is not None), None)


def averages(optimizer: Optimizer) -> float | None:
    """The decay of the average that the optimizer keeps itself; None where it keeps none."""
    decays = (group.get("ema_decay") for group in optimizer.param_groups)
    return next((decay for decay in decays if decay is not None), None)


def refuse_clipping(optimizer: Optimizer, trainers: str, write: str) -> None:
    """Raise OptionError if the optimizer clips as well.

    Args:
        optimizer: the one that is stepped.
        trainers: how the trainer clips, as it is written: ``"max_grad_norm=1.0"``.
        write: what to write for the trainer so that it does not.
    """
    norm = clips(optimizer)
    if norm is not None:
        raise OptionError(
            f"gradients would be clipped twice, by the trainer ({trainers}) and by the optimizer (clip_norm={norm:g}): {write}, and the "
            "optimizer clips inside its step, where the watch still sees the norm before clipping"
        )


def refuse_average(optimizer: Optimizer, trainers: str) -> None:
    """Raise OptionError if the optimizer keeps an average as well; ``trainers`` is what of the trainer does."""
    decay = averages(optimizer)
    if decay is not None:
        raise OptionError(
            f"weights would be averaged twice, by {trainers} and by the optimizer (ema_decay={decay:g}): leave {trainers} out and "
            "evaluate inside `with unwrap(optimizer).averaged():`, or leave ema_decay out"
        )
