"""What reproduces a finding: the inputs of one module or of the loss, and nothing else of the model; and its file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine import _files as files
from ravine import _randomness as randomness
from ravine._compat import pytree
from ravine._files import checkpoint
from ravine.diagnose._nonfinite.finding import Finding
from ravine.diagnose._nonfinite.value_range import tensors

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Reproduction:
    """A finding, and in plain values and tensors what is needed to find it again."""

    finding: Finding
    values: dict[str, Any] = field(repr=False)


def write(reproduction: Reproduction, path: Path) -> Path:
    """Write it to this file, or to one named after the module in this folder; returns the file.

    Raises:
        OptionError: the file cannot be written.
        StateError: the inputs of the module cannot be stored in a file.
    """
    finding = reproduction.finding
    if path.suffix != _SUFFIX:
        module = finding.module if finding.where in ("forward", "backward", "parameter") else finding.where
        path = files.claim(path, force=True) / f"nan-{re.sub(r'[^A-Za-z0-9._-]', '_', module) or 'model'}{_SUFFIX}"
    about = {name: getattr(finding, name) for name in ("where", "module", "kind", "call", "tensor")}
    checkpoint.save(path, {"nan": {**about, "text": str(finding), **reproduction.values}})
    return path


class Taken:
    """The inputs of a module in one of its calls; as a context, it waits for that call.

    Attributes:
        module: the module; None for a loss.
        call: which of its calls, from 1.
        inputs: its arguments by place and by name, as they were when the call began; None before it.
        gradients: the gradient of each tensor of its outputs.
    """

    def __init__(self, module: nn.Module | None, call: int) -> None:
        self.module, self.call = module, call
        self.inputs: tuple[Any, Any] | None = None
        self.gradients: list[Tensor | None] = []
        self._state: dict[str, Any] = {}
        self._calls = 0

    def __enter__(self) -> Taken:
        assert self.module is not None
        before = self.module.register_forward_pre_hook(self._before, prepend=True, with_kwargs=True)
        self._hooks = [before, self.module.register_forward_hook(self._after)]
        return self

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._calls += 1
        if self._calls == self.call:
            self.begins(args, kwargs)

    def begins(self, args: Any, kwargs: Any) -> None:
        """The call has begun."""
        given = (tuple(args), dict(kwargs))
        self.inputs = pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), given)
        device = next((t.device.type for t in tensors(given)), "cpu")
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        self._state = {
            "needs": [t.requires_grad for t in tensors(given)],
            "random": randomness.state(),
            "autocast": None if dtype is None else [device, str(dtype).removeprefix("torch.")],
        }
        if self.module is not None:
            buffers = self.module.named_buffers()
            self._state["buffers"] = {name: buffer.detach().clone() for name, buffer in buffers}
            self._state["training"] = {name: module.training for name, module in self.module.named_modules()}

    def _after(self, module: nn.Module, args: Any, outputs: Any) -> None:
        if self._calls != self.call or self.gradients:
            return
        leaves = tensors(outputs)
        self.gradients = [None] * len(leaves)
        for i, tensor in enumerate(leaves):
            if tensor.requires_grad:
                tensor.register_hook(self._gradient_hook(i))

    def _gradient_hook(self, i: int) -> Any:
        def keep(gradient: Tensor) -> None:
            self.gradients[i] = gradient.detach().clone()

        return keep

    def given(self) -> Any:
        """The inputs; of a loss, the model's outputs."""
        if self.inputs is None or self.module is not None:
            return self.inputs
        return self.inputs[0][0]

    def tree(self) -> dict[str, Any]:
        """All of it in plain values and tensors, with the module's parameters."""
        if self.module is None:
            return {"inputs": self.inputs, **self._state}
        parameters = dict(self.module.named_parameters())
        return {
            "inputs": self.inputs,
            "gradients": self.gradients,
            "parameters": parameters,
            "trained": {name: p.requires_grad for name, p in parameters.items()},
            "buffers": dict(self.module.named_buffers()),
            **self._state,
        }
