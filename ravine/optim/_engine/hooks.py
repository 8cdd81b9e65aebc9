"""torch's hooks around a step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.optim.optimizer as torch_optimizer


def with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Run a step with torch's hooks around it; without hooks or a profiler, at no cost (torch's own takes 5 to 10 us)."""
    hooked = torch_optimizer.Optimizer.profile_hook_step(step)

    # A kernel writes to addresses, so a compiled training step breaks its graph here. Asking costs less than wrapping.
    outside = torch._disable_dynamo(hooked)

    @functools.wraps(step)
    def wrapper(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return outside(self, *args, **kwargs)
        if (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or torch_optimizer._global_optimizer_pre_hooks
            or torch_optimizer._global_optimizer_post_hooks
            or torch.autograd._profiler_enabled()
        ):
            return hooked(self, *args, **kwargs)
        return step(self, *args, **kwargs)

    wrapper.hooked = True  # type: ignore[attr-defined]  # tells torch that the hooks are taken care of
    return wrapper
