"""What torch.optim has and Ravine has not, found under Ravine's name: a script changes its import and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

from ravine.errors import nearest

#: Modules that may also be imported by their names.
MODULES = ("lr_scheduler", "swa_utils")


def find(name: str, ours: Sequence[str]) -> Any:
    """torch's own module, class or function of that name.

    Args:
        name: what was asked for as ``ravine.optim.name``.
        ours: the public names of ``ravine.optim``.

    Raises:
        AttributeError: torch has none either; the nearest name is said.
    """
    theirs = [n for n in dir(torch.optim) if not n.startswith("_")]
    if name in MODULES:
        return import_module(f"ravine.optim.{name}")
    if name in theirs:
        return getattr(torch.optim, name)
    # Python would add a guess of its own where it is told the name.
    message = f"ravine.optim has no {name!r}, and torch.optim has none. {nearest(name, {*ours, *theirs})}"
    raise AttributeError(message, name=None, obj=None)
