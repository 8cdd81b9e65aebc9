"""torch's hooks around a step, and before a state dict is loaded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ravine._compat.torch import has_step_hooks, outside_compile


def with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Run a step with torch's hooks around it; without hooks or a profiler, at no cost (torch's own takes 5 to 10 us)."""
    hooked = torch.optim.Optimizer.profile_hook_step(step)
    outside = outside_compile(hooked)

    @functools.wraps(step)
    def wrapper(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        # Asking costs less than wrapping.
        if torch.compiler.is_compiling():
            return outside(self, *args, **kwargs)
        if has_step_hooks(self):
            return hooked(self, *args, **kwargs)
        return step(self, *args, **kwargs)

    wrapper.hooked = True  # type: ignore[attr-defined]  # tells torch that the hooks are taken care of
    return wrapper


def changed_by(
    hooks: Iterable[Callable[..., Any]], optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]
) -> dict[str, Any]:
    """A state dict as the hooks leave it: one may change it, or return another."""
    for hook in hooks:
        replaced = hook(optimizer, state_dict)
        if replaced is not None:
            state_dict = replaced
    return state_dict
