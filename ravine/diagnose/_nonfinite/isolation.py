"""Runs a model in isolation: everything that a run changes is restored afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ravine import _randomness as randomness
from ravine._compat.torch import accumulation_hooks
from ravine.diagnose._nonfinite.value_range import tensors


class Buffers:
    """The buffers of a model as they are now."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (module, name, buffer, buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
        ]

    def restore(self) -> None:
        """Restore them: the same tensors with the values that they had."""
        with torch.no_grad():
            for module, name, buffer, values in self._kept:
                buffer.copy_(values)
                setattr(module, name, buffer)


@contextmanager
def isolated_run(model: nn.Module, *trees: Any) -> Iterator[None]:
    """What runs inside leaves the model's buffers, all gradients and the random states as they were.

    Gradients are None at the beginning, and hooks that act on a gradient as soon as it is computed, such as a step
    in the backward pass, are not called. The gradients of tensors in ``trees`` are restored, too.
    """
    leaves = [t for t in [*model.parameters(), *tensors(trees)] if t.is_leaf and t.requires_grad]
    gradients = [leaf.grad for leaf in leaves]
    hooks = [h for leaf in leaves if (h := accumulation_hooks(leaf))]
    kept_hooks = [dict(h) for h in hooks]
    buffers = Buffers(model)
    try:
        for leaf in leaves:
            leaf.grad = None
        for registered in hooks:
            registered.clear()
        with randomness.isolated(), _not_compiled():
            yield
    finally:
        for registered, kept in zip(hooks, kept_hooks, strict=True):
            registered.update(kept)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        buffers.restore()


def _not_compiled() -> AbstractContextManager[Any]:
    """Modules run uncompiled: otherwise single operations cannot be observed."""
    compiled = "torch._dynamo" in sys.modules  # torch imports it, in seconds, when something is compiled
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer is."""
    first: Tensor | None = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if first is None else first.device
