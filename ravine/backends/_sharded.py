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

from ravine.backends import ROUNDING_STATISTICS, STATISTICS, Batch, Numbers, States, Sums, statistic, to_device
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


class Columns:
    """Some of the parameters, in tensors that have a column for each.

    A list as an index would be copied to the tensor's device in every step, which waits for all that was asked of it before.

    Args:
        places: which they are.
        device: where the tensors are; None: on the host.

    Attributes:
        index: the places, on that device.
    """

    def __init__(self, places: Sequence[int], device: torch.device | None) -> None:
        self._places = list(places)
        self.index = to_device(torch.tensor(self._places, device="cpu"), device or torch.device("cpu"))

    def of(self, tensor: Tensor, dim: int = -1) -> Tensor:
        """A copy of their columns."""
        return tensor.index_select(dim, self.index)

    def put(self, tensor: Tensor, values: Any, dim: int = -1) -> None:
        """Write their columns."""
        tensor.index_copy_(dim, self.index, torch.as_tensor(values).to(tensor))

    def numbers(self, numbers: Numbers) -> Numbers:
        """Their numbers among those of a pass."""

        def own(number: Any) -> Any:
            if isinstance(number, np.ndarray) and number.ndim:
                return number[self._places]
            return self.of(number) if isinstance(number, Tensor) and number.ndim else number

        return tuple(map(own, numbers))


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

    makes_numbers = takes_host_numbers = False
    by_chunks = None

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
        self.on_device = batches[0][1].on_device
        self._parts, self._batches = list(parts), [(Columns(i, self.on_device), batch) for i, batch in batches]
        self._exchanged: list[tuple[Any, Tensor, Tensor]] = []
        self._columns = _columns(params, self.on_device)
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
        for columns, batch in self._batches:
            columns.put(sums, batch.reduce(index, columns.numbers(numbers)))
        added = sum(r.kind != "amax" for r in self.program.passes[index].reductions)  # maxima are the last
        for (mesh, split), columns in self._columns.items():
            for rows, largest in ((sums[:added], False), (sums[added:], True)):
                if len(rows):
                    here = columns.of(rows)
                    # The largest of numbers is not defined where one is NaN: it is carried as infinity.
                    here = here.nan_to_num(torch.inf, torch.inf) if largest else here
                    columns.put(rows, _over(mesh, split, here, largest))
        return sums if self.on_device else sums.numpy()

    @property
    def may_be_brief(self) -> bool:
        return any(batch.may_be_brief for _, batch in self._batches)

    @property
    def brief(self) -> bool:
        return any(batch.brief for _, batch in self._batches)

    def look(self, in_full: bool) -> None:
        for _, batch in self._batches:
            batch.look(in_full)

    def call(self, index: int, numbers: Numbers, bad: Tensor | None = None) -> None:
        raise AssertionError("formulas that need whole tensors are stepped by Whole")

    def statistics(self, steps: int) -> Tensor:
        """Of this process's parts: they are combined where somebody asks for them (``join_statistics``)."""
        shape = steps, len(STATISTICS), len(self.params)
        result = torch.zeros(shape, dtype=torch.float64, device=self.on_device or "cpu")
        for columns, batch in self._batches:
            columns.put(result, batch.statistics(steps))
        # Samples are of the parts that begin a tensor: what others have would be added to that.
        for (mesh, split), columns in self._columns.items():
            if any(mesh.get_local_rank(d) for d in split):
                for row in statistic(*ROUNDING_STATISTICS):
                    result[:, row].index_fill_(-1, columns.index, 0.0)
        return result

    @torch.no_grad()
    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        self._exchange()
        for columns, batch in self._batches:
            batch.write(None if numbers is None else columns.numbers(numbers), buffer_index, skip)
        torch.autograd.graph.increment_version([p for p in self.params if p.grad is not None])
        self.release()

    def release(self) -> None:
        self._exchanged = []
        for _, batch in self._batches:
            batch.release()
        for here in self._parts:
            here.grad = None


def _columns(params: Sequence[Tensor], device: torch.device | None) -> dict[tuple[Any, ...], Columns]:
    """The parameters that are split, by mesh and the dimensions of it that they are split over."""
    places: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, p in enumerate(params):
        if layout(p):
            mesh, placements = layout(p)
            split = tuple(d for d, placement in enumerate(placements) if not placement.is_replicate())
            if split:
                places[mesh, split].append(i)
    return {key: Columns(some, device) for key, some in places.items()}


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
    sums = [i for i in statistic(reduce="sum") if STATISTICS[i].name != "steps"]
    for (mesh, split), columns in _columns(params, figures.device).items():
        for rows, largest in ((sums, False), (statistic(reduce="max"), True)):
            chosen = Columns(rows, figures.device)
            whole = chosen.of(figures, 1)
            here = columns.of(whole)
            # The largest of numbers is not defined where one is NaN; infinity says as well that something is wrong.
            here = here.nan_to_num(torch.inf, torch.inf, -torch.inf) if largest else here
            columns.put(whole, _over(mesh, split, here, largest))
            chosen.put(figures, whole, 1)
    return figures
