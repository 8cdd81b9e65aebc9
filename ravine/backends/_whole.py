"""Tensors split over processes whose formula needs them whole: every process puts them together and steps all of them.

For formulas with functions of whole tensors or sums of rows and columns. Each process computes the same, and keeps its own
part of parameters and states; states with shapes of their own are whole on every process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends import STATISTICS, Batch, Numbers, States, Sums, statistic, to_device
from ravine.backends._brief import Looks
from ravine.backends._sharded import Columns, layout
from ravine.errors import BackendError
from ravine.formula import Program

#: Makes batches of whole tensors and their states, each with the indices of its parameters.
Make = Callable[[Sequence[Tensor], Sequence[States]], Sequence[tuple[list[int], Batch]]]


class Whole(Looks):
    """A batch of split parameters, over batches of whole copies; see ``ravine.backends.Batch``.

    Args:
        program: what is run.
        params: the parameters.
        states: what is kept for each of them.
        make: makes the batches of the copies.
    """

    makes_numbers = takes_host_numbers = in_graphs = False
    by_chunks = None

    def __init__(self, program: Program, params: Sequence[Tensor], states: Sequence[States], make: Make) -> None:
        self.program, self.params, self.states = program, list(params), list(states)
        self.active: np.ndarray | None = None
        self._copies: list[Tensor] = [torch.empty(p.shape, dtype=p.dtype, device=p.to_local().device) for p in params]  # type: ignore[attr-defined]
        self._copied: list[States] = []
        for p, kept in zip(params, states, strict=True):
            copies = {}
            for name, state in kept.items():
                copies[name] = state
                if isinstance(state, Tensor) and layout(state):
                    copies[name] = torch.empty(p.shape, dtype=state.dtype, device=state.to_local().device)  # type: ignore[attr-defined]
            self._copied.append(copies)
        for p, copy in zip(params, self._copies, strict=True):
            if p.grad is not None:  # what a batch asks for when it is made
                copy.grad = torch.zeros_like(copy, dtype=p.grad.dtype)
        self._split = [[n for n, s in kept.items() if isinstance(s, Tensor) and layout(s)] for kept in states]
        made = make(self._copies, self._copied)
        for kept, copies, split in zip(states, self._copied, self._split, strict=True):
            kept.update(
                {name: value for name, value in copies.items() if name not in split}
            )  # views of what a batch keeps
        self.on_device = made[0][1].on_device
        self._batches = [(Columns(indices, self.on_device), batch) for indices, batch in made]
        self._together = False

    @torch.no_grad()
    def gather(self) -> bool:
        """Look only: a process may have to gather again when the others do not, and must not talk alone."""
        for p in self.params:
            if p.grad is not None and (p.grad.shape != p.shape or layout(p.grad)[:1] != layout(p)[:1]):
                return False
        missing = [p.grad is None for p in self.params]
        self.active = ~np.array(missing) if any(missing) else None
        self._together = False
        return True

    @torch.no_grad()
    def _exchange(self) -> None:
        """Bring the parts of all processes together."""
        if self._together:
            return
        rows = zip(self.params, self.states, self._copies, self._copied, self._split, strict=True)
        for p, states, copy, copies, split in rows:
            grad: Any = p.grad
            copy.grad = None
            if grad is None:
                continue
            copy.copy_(p.full_tensor())  # type: ignore[attr-defined]
            copy.grad = grad.full_tensor().to(copy.dtype)
            for name in split:
                copies[name].copy_(states[name].full_tensor())  # type: ignore[attr-defined]
        for _, batch in self._batches:
            if not batch.gather():
                raise BackendError(
                    "gradients of split parameters changed their dtype between two steps: make the optimizer anew"
                )
        self._together = True

    @torch.no_grad()
    def reduce(self, index: int, numbers: Numbers) -> Sums:
        self._exchange()
        shape = len(self.program.passes[index].reductions), len(self.params)
        sums = torch.zeros(shape, dtype=torch.float64, device=self.on_device or "cpu")
        for columns, batch in self._batches:
            columns.put(sums, batch.reduce(index, columns.numbers(numbers)))
        return sums if self.on_device else sums.numpy()

    def call(self, index: int, numbers: Numbers, bad: Tensor | None = None) -> None:
        self._exchange()
        for columns, batch in self._batches:
            batch.call(index, columns.numbers(numbers), bad)

    @torch.no_grad()
    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        self._exchange()
        for columns, batch in self._batches:
            batch.write(None if numbers is None else columns.numbers(numbers), buffer_index, skip)
        rows = zip(self.params, self.states, self._copies, self._copied, self._split, strict=True)
        for p, states, copy, copies, split in rows:
            if p.grad is None:
                continue
            _take(p, copy)
            for name in split:
                _take(states[name], copies[name])
        torch.autograd.graph.increment_version([p for p in self.params if p.grad is not None])
        self.release()

    def release(self) -> None:
        self._together = False
        for _, batch in self._batches:
            batch.release()

    def statistics(self, steps: int) -> Tensor:
        """A share of each sum, since those who ask add up over the processes (``join_statistics``)."""
        shape = steps, len(STATISTICS), len(self.params)
        result = torch.zeros(shape, dtype=torch.float64, device=self.on_device or "cpu")
        for columns, batch in self._batches:
            columns.put(result, batch.statistics(steps))
        shares = np.ones(shape[1:])
        sums = [i for i in statistic(reduce="sum") if STATISTICS[i].name != "steps"]
        for i, p in enumerate(self.params):
            mesh, placements = layout(p)
            shares[sums, i] = math.prod(
                mesh.size(d) for d, placement in enumerate(placements) if not placement.is_replicate()
            )
        return result.div_(to_device(torch.from_numpy(shares), result.device))


def _take(split: Any, whole: Tensor) -> None:
    """This process's part of a whole tensor, to where its part of a split one is."""
    from torch.distributed.tensor import DTensor, Replicate

    mesh, placements = layout(split)
    everywhere = DTensor.from_local(whole, mesh, [Replicate()] * len(placements), run_check=False)
    split.to_local().copy_(everywhere.redistribute(mesh, placements).to_local())
