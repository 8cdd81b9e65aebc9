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

from ravine.backends import WATCHED, States, compute_dtype
from ravine.formula import Program
from ravine.formula import _functions as functions
from ravine.formula._python import Statements, code_name


@cache
def _function(program: Program, index: int) -> Callable[..., tuple[Any, ...]]:
    """The element stage of a pass as a Python function of tensors and numbers."""
    p = program.passes[index]
    leaves = p.leaves()
    arguments = [*map(code_name, p.reads), *p.number_names]
    body = Statements(
        p.results, leaves, calls={"div", "pow"}, element=lambda number: f"element({number}, {arguments[0]})"
    )
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

    def __init__(
        self, program: Program, params: Sequence[torch.Tensor], states: Sequence[States], slots: int = 0
    ) -> None:
        self.program, self.params, self.states = program, list(params), list(states)
        self._slots = slots
        self._figures: torch.Tensor | None = None  # of each slot, on the parameters' device until they are asked for
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

    def _dtype(self, i: int) -> torch.dtype:
        tensors = [self.params[i], self._grads[i], *(self.states[i][name] for name in self.program.states)]
        return compute_dtype([t.dtype for t in tensors if t is not None])

    def _results(self, i: int, index: int, numbers: tuple[Any, ...]) -> tuple[Any, ...]:
        p = self.program.passes[index]
        tensors: dict[str, Any] = {"param": self.params[i], "grad": self._grads[i]}
        tensors |= {name: self.states[i][name] for name in self.program.states}
        read = [_real(tensors[name].detach()).to(self._dtype(i)) for name in p.reads]
        mine = [n[i].item() if isinstance(n, np.ndarray) and n.ndim else n for n in numbers]
        return _function(self.program, index)(*read, *mine)

    @torch.no_grad()
    def reduce(self, index: int, numbers: tuple[Any, ...]) -> np.ndarray:
        sums = np.zeros((len(self.program.passes[index].names), len(self.params)))
        found: list[torch.Tensor] = []
        stepped = [i for i, grad in enumerate(self._grads) if grad is not None]
        for i in stepped:
            found.append(torch.stack([_square(x) for x in self._results(i, index, numbers)]))
        if found:  # one look at each device for all tensors
            sums[:, stepped] = _together(found).cpu().T.numpy()
        return sums

    @torch.no_grad()
    def write(self, numbers: tuple[Any, ...] | None, slot: int = 0) -> None:
        self._numbers = self._numbers if numbers is None else numbers
        last = len(self.program.passes) - 1
        figures = []
        for i, grad in enumerate(self._grads):
            if grad is None:
                if self._slots:
                    figures.append(torch.zeros(len(WATCHED), dtype=torch.float64, device="cpu"))
                continue
            new = self._results(i, last, self._numbers)
            tensors = {"param": self.params[i].detach(), **self.states[i]}
            before = _real(tensors["param"]).to(self._dtype(i), copy=True) if self._slots else None
            for name, value in zip(self.program.passes[last].names, new, strict=True):
                target = _real(tensors[name])
                if isinstance(value, torch.Tensor):
                    target.copy_(value)
                else:
                    target.fill_(value)
            if before is not None:
                after = _real(tensors["param"]).to(before.dtype)
                figures.append(_figures(_real(grad.detach()).to(before.dtype), before, after - before))
        if self._slots:
            self._keep(_together(figures).T, slot)
        self._grads = []

    def _keep(self, figures: torch.Tensor, slot: int) -> None:
        if self._figures is None:
            with torch.inference_mode(False):  # a first step there must not decide where others can be made
                self._figures = torch.zeros(self._slots, *figures.shape, dtype=figures.dtype, device=figures.device)
        self._figures[slot] = figures

    @torch.no_grad()
    def watched(self, slots: int) -> torch.Tensor:
        assert self._figures is not None  # there was a step
        return self._figures[:slots]


def _square(x: torch.Tensor) -> torch.Tensor:
    """The sum of squares, in double precision where the device has it."""
    wide = x if x.device.type == "mps" else x.double()
    return (wide * wide).sum()


def _together(rows: list[torch.Tensor]) -> torch.Tensor:
    """The rows as one tensor, on the device of most of them: in nearly every optimizer all are on one."""
    device = max((r.device for r in rows), key=[r.device for r in rows].count)
    return torch.stack([r.to(device) for r in rows])


def _figures(grad: torch.Tensor, param: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
    """WATCHED of one tensor that was stepped."""
    squares = [_square(x) for x in (grad, param, update)]
    tops = [x.abs().amax() if x.numel() else x.sum() for x in (grad, param, update)]
    rest = [(~torch.isfinite(grad)).sum(), torch.ones((), device=grad.device)]
    return torch.stack([x.to(squares[0].dtype) for x in (*squares, *tops, *rest)])
