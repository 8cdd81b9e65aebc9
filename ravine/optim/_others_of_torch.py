"""What torch.optim has and Ravine has not, found under Ravine's name: a script changes its import and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

from ravine._lazy import missing
from ravine.optim._words_of_others import name_here

#: Modules that may also be imported by their names.
MODULES = ("lr_scheduler", "swa_utils")


def find(name: str, ours: Sequence[str]) -> Any:
    """torch's own module, class or function of that name.

    Args:
        name: what was asked for as ``ravine.optim.name``.
        ours: the public names of ``ravine.optim``.

    Raises:
        AttributeError: torch has none either; the nearest name is said. An ImportError where it was imported.
    """
    theirs = [n for n in dir(torch.optim) if not n.startswith("_")]
    if name in MODULES:
        return import_module(f"ravine.optim.{name}")
    if name in theirs:
        return getattr(torch.optim, name)
    inside = next((m for m in MODULES if name in dir(getattr(torch.optim, m)) and name[0].isupper()), None)
    hint = f"It is in {inside}: ravine.optim.{inside}.{name}." if inside else name_here(name, {*ours, *theirs})
    message = f"ravine.optim has no {name!r}, and torch.optim has none. {hint or _all(ours, theirs)}"
    raise missing("ravine.optim", message)


def _all(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """The optimizers that there are."""
    module = import_module("ravine.optim")
    exported = {name: getattr(module, name) for name in {*ours, *theirs}}
    names = sorted(
        (n for n, v in exported.items() if isinstance(v, type) and issubclass(v, torch.optim.Optimizer)), key=str.lower
    )
    return f"Known: {', '.join(names)}."
