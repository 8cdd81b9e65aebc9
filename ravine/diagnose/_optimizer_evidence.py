"""What an optimizer knows of its run, as evidence for a diagnosis: a plain loop has nothing else."""

from __future__ import annotations

from typing import Any

import torch

from ravine.diagnose._evidence import Evidence
from ravine.errors import OptionError
from ravine.optim import Optimizer
from ravine.watch._hyper_log import HyperLog


def evidence_of_optimizer(optimizer: torch.optim.Optimizer) -> Evidence:
    """The evidence of an optimizer as it is now: its history, its rates, and the losses that were noted.

    Raises:
        OptionError: it is not one of ``ravine.optim``, or records nothing.
    """
    name = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise OptionError(
            f"diagnose({name}): this optimizer is torch's and records nothing of its steps. Make it with ravine.optim: "
            f"the classes have torch's names and arguments."
        )
    watch = optimizer.watch
    if not watch.on:
        raise OptionError(f"diagnose({name}): it was made with watch=False and records nothing. Leave watch=False out.")
    known = watched(optimizer)
    losses = watch.losses
    hypers: dict[str, Any] = watch.hypers
    if not hypers:  # nothing but what the groups say now
        log = HyperLog()
        log.observe(0, optimizer.param_groups, optimizer.defaults)
        hypers = {name: log.values(name, max(watch.steps, 1)) for name in log.changes}
    return Evidence(optimizer=name, losses=losses, hypers=hypers, **known)


def watched(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the watch knows, by the names of ``Evidence``; nothing of an optimizer of torch's."""
    if not isinstance(optimizer, Optimizer):
        return {}
    watch = optimizer.watch
    if not watch.on:
        return {"skipped": watch.skipped}
    return {
        "skipped": watch.skipped,
        "history": watch.history,
        "first_nonfinite": watch.first_nonfinite,
        "dims": tuple(p.ndim for p in watch.params),
        "dtypes": tuple(str(p.dtype).removeprefix("torch.") for p in watch.params),
        "trained": tuple(p.requires_grad for p in watch.params),
    }
