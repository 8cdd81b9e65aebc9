"""The eager backend: the program's own text, run with torch operations on one tensor after the other.

It is the meaning of a formula and the reference that kernels are tested against. It takes any device, dtype,
layout of memory and tensor subclass that torch's operations take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from ravine.backends import States, compute_dtype
from ravine.formula import Program, functions
from ravine.formula.printer import Statements


@cache
def _function(program: Program, index: int) -> Callable[..., tuple[Any, ...]]:
    """The element stage of a pass as a Python function of tensors and numbers."""
    p = program.passes[index]
    leaves = p.leaves()
    arguments = [*p.reads, *p.number_names]
    body = Statements(p.results, leaves, taken=arguments)
    lines = [f"def elements({', '.join(arguments)}):", *(f"    {line}" for line in body.lines)]
    source = "\n".join([*lines, f"    return ({''.join(r + ', ' for r in body.results)})"])
    scope: dict[str, Any] = dict(vars(functions))
    exec(compile(source, "<elements>", "exec"), scope)
    result: Callable[..., tuple[Any, ...]] = scope["elements"]
    return result


def _real(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _kind(p: torch.Tensor) -> tuple[Any, ...]:
    return p.shape, p.dtype, p.device


class Eager:
    """A batch that runs on torch operations; see ``ravine.backends.Batch``."""

    def __init__(self, program: Program, params: Sequence[torch.Tensor], states: Sequence[States]) -> None:
        self.program, self.params, self.states = program, list(params), list(states)
        self.active: np.ndarray | None = None
        self._kinds = [_kind(p) for p in self.params]
        self._grads: list[torch.Tensor | None] = []
        self._numbers: tuple[Any, ...] = ()

    def gather(self) -> bool:
        self._grads = [p.grad for p in self.params]
        for p, g, kind in zip(self.params, self._grads, self._kinds, strict=True):
            if _kind(p) != kind or (g is not None and (g.shape != p.shape or g.layout is not torch.strided)):
                return False
        missing = [g is None for g in self._grads]
        self.active = ~np.array(missing) if any(missing) else None
        return True

    def _results(self, i: int, index: int, numbers: tuple[Any, ...]) -> tuple[Any, ...]:
        p = self.program.passes[index]
        tensors: dict[str, Any] = {"param": self.params[i], "grad": self._grads[i]}
        tensors |= {name: self.states[i][name] for name in self.program.states}
        dtype = compute_dtype([t.dtype for t in tensors.values()])
        read = {name: _real(tensors[name].detach()) for name in p.reads}
        mine = [n[i].item() if isinstance(n, np.ndarray) and n.ndim else n for n in numbers]
        return _function(self.program, index)(*(t.to(dtype) for t in read.values()), *mine)

    @torch.no_grad()
    def reduce(self, index: int, numbers: tuple[Any, ...]) -> np.ndarray:
        sums = np.zeros((len(self.program.passes[index].names), len(self.params)))
        for i, grad in enumerate(self._grads):
            if grad is not None:
                for row, x in enumerate(self._results(i, index, numbers)):
                    wide = x if x.device.type == "mps" else x.double()
                    sums[row, i] = (wide * wide).sum().item()
        return sums

    @torch.no_grad()
    def write(self, numbers: tuple[Any, ...] | None) -> None:
        self._numbers = self._numbers if numbers is None else numbers
        last = len(self.program.passes) - 1
        for i, grad in enumerate(self._grads):
            if grad is None:
                continue
            new = self._results(i, last, self._numbers)
            tensors = {"param": self.params[i].detach(), **self.states[i]}
            for name, value in zip(self.program.passes[last].names, new, strict=True):
                target = _real(tensors[name])
                if isinstance(value, torch.Tensor):
                    target.copy_(value)
                else:
                    target.fill_(value)
        self._grads = []
