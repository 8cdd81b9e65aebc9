"""What reproduces a finding: what one module or the loss was given, and nothing else of the model; and its file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ravine import _files as files
from ravine import _randomness as randomness
from ravine._files import checkpoint
from ravine.diagnose._nonfinite.finding import Finding
from ravine.diagnose._nonfinite.value_range import tensors

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Case:
    """A finding, and in plain values and tensors what it takes to find it again."""

    finding: Finding
    held: dict[str, Any] = field(repr=False)


def write(case: Case, path: Path) -> Path:
    """Write a case to this file, or to one named after the module in this folder; gives the file.

    Raises:
        OptionError: the file cannot be written.
        StateError: what the module was given cannot be kept in a file.
    """
    finding = case.finding
    if path.suffix != _SUFFIX:
        module = finding.module if finding.where in ("forward", "backward", "parameter") else finding.where
        path = files.claim(path, force=True) / f"nan-{re.sub(r'[^A-Za-z0-9._-]', '_', module) or 'model'}{_SUFFIX}"
    about = {name: getattr(finding, name) for name in ("where", "module", "kind", "call", "tensor")}
    checkpoint.save(path, {"nan": {**about, "text": str(finding), **case.held}})
    return path


class Taken:
    """What a module was given in one of its calls; within it the call is waited for.

    Attributes:
        module: the module; None for a loss.
        call: which of its calls, from 1.
        inputs: its arguments by place and by name, as they were when the call began; None before it.
        gradients: what came back to each tensor of its outputs.
    """

    def __init__(self, module: nn.Module | None, call: int) -> None:
        self.module, self.call = module, call
        self.inputs: tuple[Any, Any] | None = None
        self.gradients: list[Tensor | None] = []
        self._held: dict[str, Any] = {}
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
        self._held = {
            "needs": [t.requires_grad for t in tensors(given)],
            "random": randomness.state(),
            "autocast": None if dtype is None else [device, str(dtype).removeprefix("torch.")],
        }
        if self.module is not None:
            buffers = self.module.named_buffers()
            self._held["buffers"] = {name: buffer.detach().clone() for name, buffer in buffers}
            self._held["training"] = {name: module.training for name, module in self.module.named_modules()}

    def _after(self, module: nn.Module, args: Any, outputs: Any) -> None:
        if self._calls != self.call or self.gradients:
            return
        found = tensors(outputs)
        self.gradients = [None] * len(found)
        for i, tensor in enumerate(found):
            if tensor.requires_grad:
                tensor.register_hook(self._keeper(i))

    def _keeper(self, i: int) -> Any:
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
            return {"inputs": self.inputs, **self._held}
        parameters = dict(self.module.named_parameters())
        return {
            "inputs": self.inputs,
            "gradients": self.gradients,
            "parameters": parameters,
            "trained": {name: p.requires_grad for name, p in parameters.items()},
            "buffers": dict(self.module.named_buffers()),
            **self._held,
        }
