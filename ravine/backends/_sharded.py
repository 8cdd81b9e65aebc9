"""Tensors split over processes (DTensor: ``fully_shard``, tensor parallelism): every process steps its own part.

The only place that knows of them. A formula is elementwise, so a part can be stepped by the backend that steps any
tensor of its kind; only the sums over whole tensors are combined over the processes. Nothing here splits a tensor.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends import ROUNDING_STATISTICS, STATISTICS, Batch, Numbers, States, Sums, statistic
from ravine.formula import Program


def layout(tensor: Tensor) -> tuple[Any, ...]:
    """The mesh of processes a tensor is split over, and its placements there; empty if it is not such a tensor."""
    # There is none where nobody has imported the class, which is slow to import.
    module = sys.modules.get("torch.distributed.tensor")
    if type(tensor) is Tensor or module is None or not isinstance(tensor, module.DTensor):
        return ()
    return tensor.device_mesh, tuple(tensor.placements)


@torch.no_grad()
def part(tensor: Tensor) -> Tensor:
    """What lies on this process of a tensor, in the same memory, with the same of its gradient."""
    if not layout(tensor):
        return tensor
    here: Tensor = tensor.detach().to_local()  # type: ignore[attr-defined]
    if tensor.grad is not None:
        here.grad = _gradient(tensor, here)
    return here


def _gradient(p: Tensor, here: Tensor) -> Tensor:
    """This process's part of a gradient; memory for it where it has to be exchanged first."""
    grad: Any = p.grad
    return grad.to_local() if layout(grad) == layout(p) else torch.empty_like(here)


class Sharded:
    """A batch of split parameters, over the batches of their parts; see ``ravine.backends.Batch``.

    Every process has the same parameters here, in the same order, and so joins the same sums. Which backend takes a
    part may differ: a part can be empty, or laid out in another way.

    Args:
        program: what is run.
        params: the parameters.
        states: what is kept for each of them.
        parts: the part of each parameter, as ``part`` gives it.
        batches: the batches of the parts, each with the indices of its parameters.
    """

    makes_numbers = False

    def __init__(
        self,
        program: Program,
        params: Sequence[Tensor],
        states: Sequence[States],
        parts: Sequence[Tensor],
        batches: Sequence[tuple[list[int], Batch]],
    ) -> None:
        self.program, self.params, self.states = program, list(params), list(states)
        self.active: np.ndarray | None = None
        self._parts, self._batches = list(parts), list(batches)
        self._exchanged: list[tuple[Any, Tensor, Tensor]] = []
        self._columns = _columns(params)
        self.on_device = self._batches[0][1].on_device
        self.in_graphs = all(batch.in_graphs for _, batch in self._batches)

    @torch.no_grad()
    def gather(self) -> bool:
        self._exchanged = []
        for p, here in zip(self.params, self._parts, strict=True):
            now: Tensor = p.to_local()  # type: ignore[attr-defined]
            if now.data_ptr() != here.data_ptr() or now.shape != here.shape or now.dtype != here.dtype:
                return False
            grad = p.grad
            if grad is None:
                here.grad = None
                continue
            if grad.shape != p.shape or grad.dtype != here.dtype or layout(grad)[:1] != layout(p)[:1]:
                return False
            here.grad = _gradient(p, here)
            if layout(grad) != layout(p):
                self._exchanged.append((grad, p, here.grad))
        missing = [p.grad is None for p in self.params]
        self.active = ~np.array(missing) if any(missing) else None
        return all(batch.gather() for _, batch in self._batches)

    def _exchange(self) -> None:
        """Gradients that lie otherwise than their parameters, as tensor parallelism leaves sums to be added up.

        Not in ``gather``: a process may have to gather again when the others do not, and must not talk alone.
        """
        for grad, p, target in self._exchanged:
            target.copy_(grad.redistribute(*layout(p)).to_local())
        self._exchanged = []

    @torch.no_grad()
    def reduce(self, index: int, numbers: Numbers) -> Sums:
        self._exchange()
        shape = len(self.program.passes[index].reductions), len(self.params)
        sums = torch.zeros(shape, dtype=torch.float64, device=self.on_device or "cpu")
        for indices, batch in self._batches:
            sums[:, indices] = torch.as_tensor(batch.reduce(index, numbers_of(numbers, indices)), dtype=sums.dtype)
        reductions = self.program.passes[index].reductions
        tops = [i for i, r in enumerate(reductions) if r.kind == "top"]
        added = list(range(len(reductions) - len(tops)))  # tops are the last
        for (mesh, split), indices in self._columns.items():
            for rows, largest in ((added, False), (tops, True)):
                if rows:
                    here = sums[rows[0] : rows[-1] + 1, indices]
                    # The largest of numbers is not defined where one is NaN: it is carried as infinity.
                    here = here.nan_to_num(torch.inf, torch.inf) if largest else here
                    sums[rows[0] : rows[-1] + 1, indices] = _over(mesh, split, here, largest).to(sums.device)
        return sums if self.on_device else sums.numpy()

    def call(self, index: int, numbers: Numbers, bad: Tensor | None = None) -> None:
        raise AssertionError("formulas that need whole tensors are stepped by Whole")

    def statistics(self, steps: int) -> Tensor:
        """Of this process's parts: they are combined where somebody asks for them (``join_statistics``)."""
        result = torch.zeros(steps, len(STATISTICS), len(self.params), dtype=torch.float64, device="cpu")
        for indices, batch in self._batches:
            part_of = batch.statistics(steps)
            result = result.to(part_of.device)
            result[:, :, indices] = part_of.to(result.dtype)
        # Samples are of the parts that begin a tensor: what others have would be added to that.
        for (mesh, split), indices in self._columns.items():
            if any(mesh.get_local_rank(d) for d in split):
                for row in statistic(*ROUNDING_STATISTICS):
                    result[:, row, indices] = 0.0
        return result

    @torch.no_grad()
    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        self._exchange()
        for indices, batch in self._batches:
            batch.write(None if numbers is None else numbers_of(numbers, indices), buffer_index, skip)
        torch.autograd.graph.increment_version([p for p in self.params if p.grad is not None])
        self.release()

    def release(self) -> None:
        self._exchanged = []
        for _, batch in self._batches:
            batch.release()
        for here in self._parts:
            here.grad = None


def _columns(params: Sequence[Tensor]) -> dict[tuple[Any, ...], list[int]]:
    """The indices of the parameters that are split, by mesh and the dimensions of it that they are split over."""
    columns: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, p in enumerate(params):
        if layout(p):
            mesh, placements = layout(p)
            split = tuple(d for d, placement in enumerate(placements) if not placement.is_replicate())
            if split:
                columns[mesh, split].append(i)
    return columns


def _over(mesh: Any, split: Sequence[int], mine: Tensor, largest: bool = False) -> Tensor:
    """Sums, or largest values, over the processes of some dimensions of a mesh; on the mesh's device."""
    everybody = mine.to(mesh.device_type, copy=True)
    how = torch.distributed.ReduceOp.MAX if largest else torch.distributed.ReduceOp.SUM
    for dimension in split:
        torch.distributed.all_reduce(everybody, how, group=mesh.get_group(dimension))
    return everybody


def join_statistics(figures: Tensor, params: Sequence[Tensor]) -> Tensor:
    """Statistics of whole tensors from those of each process's parts, shape (rows, len(STATISTICS), parameters).

    All processes must ask. In statistics of several steps sums may also be means.
    """
    # Whether a tensor was stepped is the same everywhere.
    rows = {False: [i for i in statistic(reduce="sum") if STATISTICS[i].name != "steps"], True: statistic(reduce="max")}
    for (mesh, split), indices in _columns(params).items():
        for largest, chosen in rows.items():
            here = figures[:, chosen][:, :, indices].contiguous()
            # The largest of numbers is not defined where one is NaN; infinity says as well that something is wrong.
            here = here.nan_to_num(torch.inf, torch.inf, -torch.inf) if largest else here
            figures[:, torch.tensor(chosen)[:, None], torch.tensor(indices)] = _over(mesh, split, here, largest).to(
                figures
            )
    return figures


def numbers_of(numbers: Numbers, indices: list[int]) -> Numbers:
    """The numbers of some of the parameters."""
    return tuple(n[indices] if isinstance(n, np.ndarray | Tensor) and n.ndim else n for n in numbers)
