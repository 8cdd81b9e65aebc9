"""Runs a model aside: everything that a run changes put back afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ravine import _randomness as randomness
from ravine.diagnose._nonfinite.value_range import tensors


class Buffers:
    """The buffers of a model as they are now."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (module, name, buffer, buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    def restore(self) -> None:
        """Give them back to the model: the same tensors with the values that they had."""
        with torch.no_grad():
            for module, name, buffer, values in self._kept:
                buffer.copy_(values)
                module._buffers[name] = buffer


@contextmanager
def untouched(model: nn.Module, *trees: Any) -> Iterator[None]:
    """Whatever runs inside leaves the model's buffers, all gradients and the random states as they were.

    Gradients are None when it begins, and what a user does with a gradient as soon as it is there, such as a step
    in the backward pass, does not happen. ``trees`` hold tensors whose gradients are kept, too.
    """
    leaves = [t for t in [*model.parameters(), *tensors(trees)] if t.is_leaf and t.requires_grad]
    gradients = [leaf.grad for leaf in leaves]
    hooks: list[dict[Any, Any]] = [h for leaf in leaves if (h := getattr(leaf, "_post_accumulate_grad_hooks", None))]
    kept_hooks = [dict(h) for h in hooks]
    buffers = Buffers(model)
    try:
        for leaf in leaves:
            leaf.grad = None
        for registered in hooks:
            registered.clear()
        with randomness.isolated(), _as_written():
            yield
    finally:
        for registered, kept in zip(hooks, kept_hooks, strict=True):
            registered.update(kept)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        buffers.restore()


def _as_written() -> AbstractContextManager[Any]:
    """Modules run as they are written: one operation after the other can only be seen if nothing is compiled."""
    compiled = "torch._dynamo" in sys.modules  # which torch imports where something is compiled, in seconds
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer is."""
    first: Tensor | None = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if first is None else first.device
