"""Slips of users who come from other libraries, on the optimizer itself: what to write."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from ravine.errors import an, kind_of
from ravine.optim._engine.group_keys import level_of_user


def check_closure(closure: object) -> None:
    """Raise TypeError for something else than a function where ``step`` takes one, such as a loss."""
    if callable(closure):
        return
    loss = "call loss.backward() and then step() without it" if isinstance(closure, torch.Tensor) else "call step()"
    raise TypeError(
        f"step takes nothing, or a function that computes the loss again, and was given {an(kind_of(closure))}: {loss}"
    )


def as_group(group: Any) -> dict[str, Any]:
    """A copy of a group's dict.

    Raises:
        TypeError: it is something else, such as parameters.
    """
    if not isinstance(group, dict):
        raise TypeError(
            f"param_group must be a dict, but got {an(kind_of(group))}: add_param_group({{'params': parameters, 'lr': 0.01}})"
        )
    return dict(group)


def warn_of_attribute(optimizer: object, name: str, defaults: Mapping[str, Any]) -> None:
    """Warn where an option is set on the optimizer, which reads it from its groups."""
    if name in defaults and not hasattr(type(optimizer), name):
        warnings.warn(
            f"optimizer.{name} = ... changes nothing: it is read from the groups. Write: for group in optimizer.param_groups: "
            f"group[{name!r}] = ...",
            stacklevel=level_of_user(),
        )
