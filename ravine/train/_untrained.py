"""Names what requires a gradient and gets one, but is in no parameter group: it would never move."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ravine._compat import pytree
from ravine._line_of_user import level_of_user

_MOST_NAMES = 6


def own_parameters(loss: Any, model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters that a loss has to learn itself, by name: those of a module, if the model does not have them."""
    if not isinstance(loss, nn.Module):
        return []
    known = {id(p) for p in model.parameters()}
    return [(f"loss.{name}", p) for name, p in loss.named_parameters() if p.requires_grad and id(p) not in known]


def warn_of_parameters(model: nn.Module, loss: Any, optimizer: torch.optim.Optimizer, reported: set[str]) -> None:
    """Warn of parameters that require a gradient and are in no group of the optimizer, unless all of them are ``reported``."""
    stepped = _stepped(optimizer)
    named = [*model.named_parameters(), *own_parameters(loss, model)]
    names = [name for name, p in named if p.requires_grad and id(p) not in stepped]
    if reported >= set(names):
        return
    reported.update(names)
    warnings.warn(
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} trainable, but in no parameter group of the optimizer, so the "
        "training leaves them as they are. Add them, optimizer.add_param_group({'params': ...}), or freeze them, "
        "requires_grad_(False).",
        stacklevel=level_of_user(),
    )


def warn_of_leaves(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """Warn of other tensors that require a gradient and that the loss depends on, such as those that a function holds."""
    known = _stepped(optimizer) | {id(p) for p in model.parameters()}
    known |= {id(leaf) for leaf in pytree.tree_leaves(batch)}
    others = [leaf for leaf in _leaves(loss) if id(leaf) not in known]
    if others:
        shapes = _listed([str(tuple(leaf.shape)) for leaf in others])
        warnings.warn(
            f"The loss depends on {len(others)} tensor{'s' * (len(others) > 1)} of shape {shapes} that require a gradient, but "
            "neither the model nor the optimizer has them, so the training leaves them as they are. Make the loss a "
            "torch.nn.Module that has them as parameters: they are then trained, too.",
            stacklevel=level_of_user(),
        )


def _stepped(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _leaves(loss: Tensor) -> list[Tensor]:
    """The tensors that ``backward`` would give a gradient, by the graph of the loss."""
    leaves, seen, waiting = [], set(), [loss.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "AccumulateGrad":
            leaves.append(node.variable)
        waiting += [inner for inner, _ in node.next_functions]
    return leaves
