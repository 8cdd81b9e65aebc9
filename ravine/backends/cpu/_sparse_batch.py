"""A batch of CPU tensors with sparse gradients: the kernel of dense tensors, on the rows that the gradients name.

To the kernel each row is a tensor. A table has the addresses of all rows of this step; nothing is copied, so a step costs what
its rows cost, whatever the size of the parameters.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends import STATISTICS, Numbers, States, compute_dtype, statistic
from ravine.backends._brief import Looks
from ravine.backends._layout import real_dtype
from ravine.backends._sparse_rows import fits, rows_of
from ravine.backends.cpu._compiler import compile_kernel
from ravine.backends.cpu._kernel import CHUNK, CHUNK_STATISTICS, Launch, kernel_source
from ravine.formula import Program

_MAXIMA = statistic(reduce="max")
_ADDED = [i for i in range(len(CHUNK_STATISTICS)) if i not in _MAXIMA]
#: Rows that a thread takes at a time.
_TOGETHER = 64


class SparseFused(Looks):
    """A batch of parameters with sparse gradients; see ``ravine.backends.Batch``. Its tensors are real and contiguous."""

    on_device: torch.device | None = None
    makes_numbers = takes_host_numbers = in_graphs = False
    by_chunks = None

    def __init__(
        self,
        program: Program,
        params: Sequence[Tensor],
        states: Sequence[States],
        grad_dtype: torch.dtype,
        buffer_size: int = 0,
    ) -> None:
        self.program, self.params, self.states = program, list(params), list(states)
        self.active: np.ndarray | None = None
        self._tensors = [[p, *(s[name] for name in program.states)] for p, s in zip(params, states, strict=True)]
        self._at = [[t.data_ptr() for t in ts] for ts in self._tensors]
        self._grad_dtype = grad_dtype
        dtypes = {"param": params[0].dtype, "grad": grad_dtype, **{n: states[0][n].dtype for n in program.states}}
        self._sizes = [d.itemsize for d in dtypes.values() if d is not None]
        self._real = compute_dtype([real_dtype(d) for d in dtypes.values()])
        watch, passes = buffer_size > 0, range(len(program.passes))
        sources = [kernel_source(program, i, dtypes, watch, of_rows=True) for i in passes]
        self._kernels = [compile_kernel(source) for source in sources]
        self._combined = np.zeros((max(1, buffer_size), len(STATISTICS), len(params)))
        self._watched = buffer_size > 0
        self._numbers: Numbers = ()
        self._watch = np.zeros((len(CHUNK_STATISTICS), 0))
        self._ready = False
        self._grads: list[Any] = []
        self._held: list[Tensor] = []

    def gather(self) -> bool:
        grads = [p.grad for p in self.params]
        for p, g, tensors, at in zip(self.params, grads, self._tensors, self._at, strict=True):
            if g is not None and not (fits(g, p) and g.dtype == self._grad_dtype):
                return False
            if p.dtype != tensors[0].dtype or [t.data_ptr() for t in tensors] != at or not p.is_contiguous():
                return False
        missing = [g is None for g in grads]
        self.active = ~np.array(missing) if any(missing) else None
        self._grads, self._ready = grads, False
        return True

    def _look(self) -> None:
        """The tables of this step's rows."""
        if self._ready:
            return
        self._held, addresses, chunks, self._rows = [], [], [], np.zeros(len(self.params), dtype=np.int64)
        first = 0
        for i, grad in enumerate(self._grads):
            if grad is None:
                continue
            rows = rows_of(grad)
            self._held.append(rows.values)
            index, width = rows.places.numpy(), rows.values.shape[1]
            count = self._rows[i] = len(index) if width else 0
            if not count:
                continue
            here = np.empty((len(self._sizes), count), dtype=np.int64)
            bases = [self._at[i][0], rows.values.data_ptr(), *self._at[i][1:]]
            for row, (base, size) in enumerate(zip(bases, self._sizes, strict=True)):
                here[row] = base + (index if row != 1 else np.arange(count)) * (width * size)
            addresses.append(here)
            pieces = range(0, width, CHUNK)
            starts = np.tile(np.array(pieces), count)
            chunks.append(
                np.stack(
                    [np.repeat(np.arange(first, first + count), len(pieces)), starts, np.minimum(width - starts, CHUNK)]
                )
            )
            first += count
        self._total = first
        self._address = (
            np.ascontiguousarray(np.concatenate(addresses, axis=1))
            if addresses
            else np.zeros((len(self._sizes), 0), np.int64)
        )
        joined = np.concatenate(chunks, axis=1) if chunks else np.zeros((3, 0), dtype=np.int64)
        self._tensor_of, self._start, self._count = (np.ascontiguousarray(row, dtype=np.int64) for row in joined)
        of_row = np.repeat(np.arange(len(self.params)), self._rows)
        self._param_of_row, self._param_of = of_row, of_row[self._tensor_of]
        self._ready = True

    def _run(self, index: int, numbers: Numbers, rows_of_sums: int) -> tuple[np.ndarray, np.ndarray]:
        """Run the kernel of a pass: its sums and its statistics, by chunk."""
        self._look()
        chunks = len(self._start)
        sums = np.zeros((max(1, rows_of_sums), chunks))
        if (
            self._watch.shape[1] != chunks
        ):  # memory that is used again: new memory costs more than what is written to it
            self._watch = np.zeros((len(CHUNK_STATISTICS), chunks))
        watch = self._watch
        several = any(isinstance(n, np.ndarray) and n.ndim for n in numbers)
        table = np.zeros((max(1, len(numbers)), self._total if several else 1))
        for row, value in enumerate(numbers):
            table[row] = value[self._param_of_row] if isinstance(value, np.ndarray) and value.ndim else value
        launch = Launch(
            chunks=chunks,
            together=_TOGETHER,
            tensors=self._total,
            rows=table.shape[1],
            tensor_of=self._tensor_of.ctypes.data,
            start=self._start.ctypes.data,
            count=self._count.ctypes.data,
            address=self._address.ctypes.data,
            numbers=table.ctypes.data,
            sums=sums.ctypes.data,
            watch=watch.ctypes.data,
        )
        if chunks:
            self._kernels[index](ctypes.addressof(launch), int(self._count.sum()), chunks)
        return sums[:rows_of_sums], watch

    def _of_params(self, chunks: np.ndarray, top: bool) -> np.ndarray:
        """Figures of parameters from those of chunks, shape (figures, parameters)."""
        result = np.zeros((len(chunks), len(self.params)))
        bounds = np.searchsorted(self._param_of, np.arange(len(self.params)))
        full = np.flatnonzero(self._rows)
        if len(full):
            reduce = np.maximum.reduceat if top else np.add.reduceat
            result[:, full] = reduce(chunks, bounds[full], axis=1)
        return result

    def reduce(self, index: int, numbers: Numbers) -> np.ndarray:
        reductions = self.program.passes[index].reductions
        sums, _ = self._run(index, numbers, len(reductions))
        result = self._of_params(sums, top=False)
        for row, reduction in enumerate(reductions):
            if reduction.kind == "amax":
                result[row] = self._of_params(sums[row : row + 1], top=True)[0]
        return result

    def call(self, index: int, numbers: Numbers, bad: Tensor | None = None) -> None:
        raise AssertionError("functions of whole tensors have no rows (why_no_rows)")

    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        assert skip is None, "on the host a step that is skipped is not written"
        self._numbers = self._numbers if numbers is None else numbers
        _, watch = self._run(len(self._kernels) - 1, self._numbers, 0)
        stepped = np.array([g is not None for g in self._grads])
        if self._watched:
            kept, here = len(CHUNK_STATISTICS), self._combined[buffer_index]
            here[_ADDED] = self._of_params(watch[_ADDED], top=False)
            here[_MAXIMA] = self._of_params(watch[_MAXIMA], top=True)
            here[kept] = stepped
        torch.autograd.graph.increment_version([p for p, made in zip(self.params, stepped, strict=True) if made])
        self.release()

    def release(self) -> None:
        self._grads, self._held = [None] * len(self.params), []

    def statistics(self, steps: int) -> Tensor:
        return torch.from_numpy(self._combined[:steps])
