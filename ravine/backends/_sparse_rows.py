"""Sparse gradients: the program on the rows that they name; the other rows of parameters and states are left as they are.

What a row is follows from the gradient: with ``sparse_dim`` 1, as ``nn.Embedding(sparse=True)`` gives it, one index of the
first dimension. Here torch's operations step copies of these rows, on any device; ``cpu/_sparse_batch.py`` has the kernel
that steps them where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine.backends import STATISTICS, Numbers, States, Sums
from ravine.backends._brief import Looks
from ravine.backends._eager import Eager
from ravine.backends._rounding_figures import ROWS
from ravine.formula import Program


def is_sparse(tensor: Tensor | None) -> bool:
    """Whether a gradient names rows."""
    return tensor is not None and tensor.layout is torch.sparse_coo


def count_bad(grad: Tensor) -> int:
    """How many elements of a gradient, or of the rows that it names, are NaN or infinite."""
    values = grad.coalesce().values() if is_sparse(grad) else grad
    return int((~torch.isfinite(values)).sum())


def why_no_rows(program: Program) -> str:
    """Why a formula cannot run on some rows alone, in words; empty if it can."""
    for p in program.passes:
        for call in p.calls:
            return f"{call.of.title} is a function of whole tensors"
        for reduction in p.reductions:
            if not reduction.guard and set(p.reads) - {"grad"}:
                names = ", ".join(name for name in p.reads if name != "grad")
                return f"it takes a sum or norm of the whole tensor, of {names}"
    if program.along:
        return "it takes sums of rows and columns of the whole tensor"
    return ""


class TouchedRows(NamedTuple):
    """The rows that a sparse gradient names.

    Attributes:
        places: which, among all of the parameter.
        values: the gradient there, shape (rows, elements of a row).
    """

    places: Tensor
    values: Tensor


@torch.no_grad()
def rows_of(grad: Tensor) -> TouchedRows:
    """Those of a gradient, each once."""
    grad = grad.detach().coalesce()
    indices, dims = grad.indices(), grad.sparse_dim()
    index = indices[0]
    for d in range(1, dims):
        index = index * grad.shape[d] + indices[d]
    width = grad.shape[dims:].numel()  # not -1: where there are no rows, that could be anything
    return TouchedRows(index, grad.values().reshape(len(index), width).contiguous())


def as_rows(tensor: Tensor, grad: Tensor) -> Tensor:
    """A parameter or a state as the rows of its gradient, in the same memory."""
    dims = grad.sparse_dim()
    return tensor.detach().view(grad.shape[:dims].numel(), grad.shape[dims:].numel())


def fits(grad: Tensor, param: Tensor) -> bool:
    """Whether a gradient is a sparse one of a parameter."""
    return is_sparse(grad) and grad.shape == param.shape and grad.device == param.device and grad.sparse_dim() > 0


class SparseRows(Looks):
    """A batch of parameters with sparse gradients; see ``ravine.backends.Batch``. All are on one device."""

    makes_numbers = takes_host_numbers = in_graphs = False
    by_chunks = None

    def __init__(
        self, program: Program, params: Sequence[Tensor], states: Sequence[States], buffer_size: int = 0
    ) -> None:
        self.program, self.params, self.states = program, list(params), list(states)
        self.active: np.ndarray | None = None
        device = self.params[0].device
        self.on_device = None if backends.on_host(device) else device
        self._statistics = torch.zeros(
            buffer_size, len(STATISTICS), len(params), dtype=backends.number_dtype(device), device=device
        )
        self._numbers: Numbers = ()
        self._step: Eager | None = None
        self._rows: list[TouchedRows] = []

    def gather(self) -> bool:
        grads = [p.grad for p in self.params]
        if not all(g is None or fits(g, p) for g, p in zip(grads, self.params, strict=True)):
            return False
        missing = [g is None for g in grads]
        self.active = ~np.array(missing) if any(missing) else None
        self._stepped = [i for i, gone in enumerate(missing) if not gone]
        self._step, self._rows = None, []
        return True

    @torch.no_grad()
    def _eager(self) -> Eager | None:
        """Torch's operations on copies of the rows; None if no parameter is stepped."""
        if self._step is None and self._stepped:
            params, states = [], []
            for i in self._stepped:
                p, grad = self.params[i], self.params[i].grad
                assert grad is not None
                rows = rows_of(grad)
                self._rows.append(rows)
                here = as_rows(p, grad)[rows.places]
                here.grad = rows.values.to(here.dtype)
                params.append(here)
                kept = {name: as_rows(self.states[i][name], grad)[rows.places] for name in self.program.states}
                states.append(kept)
            self._step = Eager(self.program, params, states, min(1, len(self._statistics)))
            self._step.gather()
        return self._step

    def _of(self, numbers: Numbers) -> Numbers:
        return tuple(n[self._stepped] if isinstance(n, np.ndarray | Tensor) and n.ndim else n for n in numbers)

    @torch.no_grad()
    def reduce(self, index: int, numbers: Numbers) -> Sums:
        device = self.params[0].device
        shape = len(self.program.passes[index].reductions), len(self.params)
        sums = torch.zeros(shape, dtype=backends.number_dtype(device), device=device)
        if eager := self._eager():
            sums[:, self._stepped] = torch.as_tensor(eager.reduce(index, self._of(numbers)), dtype=sums.dtype)
        return sums if self.on_device else sums.numpy()

    def call(self, index: int, numbers: Numbers, bad: Tensor | None = None) -> None:
        raise AssertionError("functions of whole tensors have no rows (why_no_rows)")

    @torch.no_grad()
    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        self._numbers = self._numbers if numbers is None else numbers
        eager = self._eager()
        if len(self._statistics):
            self._statistics[buffer_index].zero_()
        if eager is not None:
            eager.write(self._of(self._numbers), 0, skip)
            for i, rows, p, states in zip(self._stepped, self._rows, eager.params, eager.states, strict=True):
                grad = self.params[i].grad
                assert grad is not None
                as_rows(self.params[i], grad)[rows.places] = p
                for name, kept in states.items():
                    as_rows(self.states[i][name], grad)[rows.places] = kept
            if len(self._statistics):
                self._statistics[buffer_index][:, self._stepped] = eager.statistics(1)[0]
                self._statistics[buffer_index][ROWS] = 0.0  # of some rows, others in every step
        torch.autograd.graph.increment_version([self.params[i] for i in self._stepped])
        self.release()

    def release(self) -> None:
        self._step, self._rows = None, []

    def statistics(self, steps: int) -> Tensor:
        return self._statistics[:steps]
