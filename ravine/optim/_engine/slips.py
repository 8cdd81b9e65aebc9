"""Slips of users who come from other libraries, on the optimizer itself: what to write."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from ravine._answered_names import NamesOfOthers, by_name
from ravine.errors import OptionError, an, kind_of
from ravine.optim._engine.group_keys import level_of_user


def loss_of(closure: Any) -> Any:
    """What the closure of a step returns, which is called with gradients on.

    Raises:
        TypeError: it is something else than a function, such as a loss.
    """
    if callable(closure):
        with torch.enable_grad():
            return closure()
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
    for name in ("state_dtype", "rounding", "param_bits"):
        if name in group:
            raise OptionError(
                f"{name} in a parameter group: it is one for the whole optimizer, Class(params, {name}=...)"
            )
    return dict(group)


_OF_OTHERS = by_name(
    {
        "optimizer.param_groups[0]['lr']": "lr learning_rate current_lr get_lr",
        "for group in optimizer.param_groups: group['lr'] = 0.01": "set_lr set_hyper set_hypers assign",
        "optimizer.step()  # after loss.backward()": "apply_gradients apply minimize apply_updates",
        "optimizer.zero_grad()": "zero_grads clear_grad clear_grads",
        "optimizer.watch.steps": "iterations n_steps step_count",
        "optimizer.state_dict()": "get_config get_weights variables opt_state get_state",
        "optimizer.load_state_dict(optimizer.state_dict())": "set_weights set_state",
        "optimizer.param_groups[0]['params']": "params parameters all_params trainable_params",
        "model.requires_grad_(False)  # or of a part of the model": "freeze freeze_to",
        "print(optimizer.watch.last)  # norms of gradients, parameters and updates": "grad_norm get_grad_norm norms",
    }
)
"""What optimizers elsewhere have, and the line here."""


class AnswersNames(NamesOfOthers):
    """Part of an optimizer: says what to write for attributes that it does not have, and for options set as such."""

    defaults: dict[str, Any]
    _of_others = _OF_OTHERS

    def _line_for(self, name: str) -> str | None:
        of_option = f"optimizer.param_groups[0][{name!r}]" if name in vars(self).get("defaults", ()) else None
        return super()._line_for(name) or of_option

    def __setattr__(self, name: str, value: Any) -> None:
        """Warns where an option is set, which a step reads from the groups."""
        warn_of_attribute(self, name, vars(self).get("defaults", {}))
        super().__setattr__(name, value)


def warn_of_attribute(optimizer: object, name: str, defaults: Mapping[str, Any]) -> None:
    """Warn where an option is set on the optimizer, which reads it from its groups."""
    if name in defaults and not hasattr(type(optimizer), name):
        warnings.warn(
            f"optimizer.{name} = ... changes nothing: it is read from the groups. Write: for group in optimizer.param_groups: "
            f"group[{name!r}] = ...",
            stacklevel=level_of_user(),
        )
