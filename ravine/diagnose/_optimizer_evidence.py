"""What an optimizer knows of its run, as evidence for a diagnosis: a plain loop has nothing else."""

from __future__ import annotations

from typing import Any

import torch

import ravine.optim
from ravine.diagnose._evidence import Evidence
from ravine.errors import OptionError
from ravine.optim import Optimizer
from ravine.optim._engine.narrow_tensors import narrow_tensors
from ravine.watch._hyper_log import HyperLog


def evidence_of_optimizer(optimizer: torch.optim.Optimizer) -> Evidence:
    """The evidence of an optimizer as it is now: its history, its rates, and the losses that were noted.

    Raises:
        OptionError: it is not one of ``ravine.optim``, or records nothing.
    """
    name = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"diagnose({name}): {_of_torch(optimizer)}")
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


def _of_torch(optimizer: torch.optim.Optimizer) -> str:
    """What can be said of a run with an optimizer that is not ours, and how to know more."""
    cls = type(optimizer)
    here, of_torch = getattr(ravine.optim, cls.__name__, None), cls.__module__.startswith("torch.optim")
    whose, instead = cls.__name__, "ravine.optim, where there is such an optimizer"
    if of_torch:
        whose = f"torch.optim.{cls.__name__} is torch's and"
    if of_torch and isinstance(here, type) and issubclass(here, Optimizer):
        instead = f"ravine.optim.{cls.__name__}(...), which takes the same arguments and makes the same steps"
    return (
        f"{whose} records nothing of its steps, so nothing is known of norms, updates and gradients. Make it with {instead}. Or diagnose(learn), "
        "a ravine.train.Learner that has trained with it: of any optimizer's run that examines losses, rates, units and validation."
    )


def watched(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What the watch knows, by the names of ``Evidence``; nothing of an optimizer of torch's."""
    if not isinstance(optimizer, Optimizer):
        return {}
    watch = optimizer.watch
    if not watch.on:
        return {"skipped": watch.skipped}
    history = watch.history
    return {
        "skipped": watch.skipped,
        "history": history,
        "first_nonfinite": watch.first_nonfinite,
        "dims": tuple(p.ndim for p in watch.params),
        "dtypes": tuple(str(p.dtype).removeprefix("torch.") for p in watch.params),
        "trained": tuple(p.requires_grad for p in watch.params),
        "narrow": _narrow(optimizer, dict(zip(history.names, watch.params, strict=True))),
    }


def _narrow(optimizer: Optimizer, params: dict[str, torch.Tensor]) -> dict[str, list[list[str]]]:
    """What is kept in 16 or 8 bits, by the parameter's name."""
    kept = {name: narrow_tensors(optimizer, p) for name, p in params.items()}
    return {name: tensors for name, tensors in kept.items() if tensors}
