"""A batch of CPU tensors whose formula has values of rows and columns.

Kernels go over the elements (``_matrix_kernel.py``). Between them torch computes what there is of rows, columns and matrices
(``_line_values.py``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ravine.backends import Numbers
from ravine.backends._jobs import Job, jobs_of
from ravine.backends._line_values import LineValues
from ravine.backends.cpu._batch import Fused
from ravine.backends.cpu._compiler import compile_kernel
from ravine.backends.cpu._kernel import CHUNK
from ravine.backends.cpu._matrix_kernel import MatrixLaunch, matrix_source
from ravine.backends.cpu._threads import Runner
from ravine.formula._operations import ALONG, COLUMNS, FULL, ROWS


class MatrixFused(Fused):
    """A batch that runs on kernels of matrices; see ``ravine.backends.Batch``. Its tensors are contiguous."""

    # --- making it --------------------------------------------------------------------------------------------

    def _cuts(self, sizes: Sequence[int], blocks: Sequence[int]) -> list[tuple[int, int, int]]:
        """The chunks, and where their rows and columns are."""
        shapes = self._lines.shapes
        cuts, places = [], []
        matrix = row = column = 0
        self._split: list[tuple[int, int, int, int]] = []  # columns of matrices in several chunks: first, width, parts
        part = 0  # such chunks have places of their own, behind those of all columns
        total_columns = sum(many * columns for many, _, columns in shapes)
        for i, (many, rows, columns) in enumerate(shapes):
            size = rows * columns
            if not (many and size):
                pass
            elif size <= CHUNK:  # as many whole matrices as fit
                together = CHUNK // size
                for b in range(0, many, together):
                    count = min(together, many - b)
                    cuts.append((i, b * size, count * size))
                    places.append((count, rows, matrix + b, row + b * rows, column + b * columns, column + b * columns))
            else:
                per = max(1, CHUNK // columns)
                for b in range(many):
                    first_part = total_columns + part
                    for r in range(0, rows, per):
                        count = min(per, rows - r)
                        cuts.append((i, b * size + r * columns, count * columns))
                        at = column + b * columns
                        places.append((1, count, matrix + b, row + b * rows + r, at, total_columns + part))
                        part += columns
                    self._split.append((column + b * columns, columns, first_part, -(-rows // per)))
            matrix, row, column = matrix + many, row + many * rows, column + many * columns
        self._parts = total_columns + part
        self._places = np.array(places, dtype=np.int64).reshape(-1, 6).T.copy()
        self._widths = np.array([columns for *_, columns in shapes], dtype=np.int64)
        return cuts

    def _compiled(self, dtypes: Mapping[str, torch.dtype], watch: bool) -> list[Runner | None]:
        """The kernels of jobs are compiled here; passes have none of their own."""
        self._lines = LineValues(self.program, self.params, self.states, self._dtype)
        self._jobs: list[list[tuple[Job, Runner]]] = [
            [(job, compile_kernel(matrix_source(self.program, job, dtypes, watch))) for job in jobs]
            for jobs in jobs_of(self.program)
        ]
        return []

    def _table(self, **fields: int) -> ctypes.Structure:
        """What kernels work on."""
        jobs = [job for of_pass in self._jobs for job, _ in of_pass]
        self._vectors, self._made = (
            np.zeros(max(map(len, lists), default=0) or 1, dtype=np.int64)
            for lists in ([job.vectors for job in jobs], [job.along for job in jobs])
        )
        names = ("matrices", "lines", "matrix_at", "row_at", "column_at", "part_at")
        places = {name: row.ctypes.data for name, row in zip(names, self._places, strict=True)}
        return MatrixLaunch(
            **fields,
            **places,
            width=self._widths.ctypes.data,
            vectors=self._vectors.ctypes.data,
            made=self._made.ctypes.data,
        )

    # --- running ----------------------------------------------------------------------------------------------

    def gather(self) -> bool:
        self._lines.start()
        return super().gather()

    def _run(self, index: int, numbers: Numbers | None) -> None:
        """Every kernel of a pass, and before each what it reads of rows and columns."""
        p, lines = self.program.passes[index], self._lines
        if numbers is None:
            numbers = self._last
        elif p is self.program.passes[-1]:
            self._last = numbers
        self._set_numbers(numbers)
        for symbol, value in zip(p.numbers, numbers, strict=True):
            number, dtype = (bool, torch.bool) if symbol.truth else (float, self._dtype)
            several = isinstance(value, np.ndarray) and value.ndim
            lines.known[symbol] = torch.from_numpy(value).to(dtype) if several else number(value)
        last = p is self.program.passes[-1]
        for job, kernel in self._jobs[index]:
            if last and job.writes:
                lines.make_new(p)
            held = [lines.flat(symbol) for symbol in job.vectors]
            self._vectors[: len(held)] = [t.data_ptr() for t in held]
            made = [
                torch.zeros(lines.counts[ROWS] if ALONG[s.op] == -1 else self._parts, dtype=self._dtype)
                for s in job.along
            ]
            self._made[: len(made)] = [t.data_ptr() for t in made]
            self._start_over()
            kernel(self._task, self.elements, self._chunks)
            for symbol, values in zip(job.along, made, strict=True):
                joined = values if ALONG[symbol.op] == -1 else self._joined(values, symbol.op.endswith("sum"))
                lines.known[symbol] = joined
        if last:  # where no kernel wrote
            lines.make_new(p)

    _last: Numbers = ()

    def _joined(self, parts: Tensor, total: bool) -> Tensor:
        """The values of all columns, those of a matrix in several chunks joined."""
        for first, width, at, count in self._split:
            here = parts[at : at + width * count].view(count, width)
            parts[first : first + width] = here.sum(0) if total else here.amax(0)
        return parts[: self._lines.counts[COLUMNS]]

    def reduce(self, index: int, numbers: Numbers) -> np.ndarray:
        result = super().reduce(index, numbers)
        p = self.program.passes[index]
        active = None if self.active is None else torch.from_numpy(self.active)
        for row, (reduction, symbol) in enumerate(zip(p.reductions, p.results, strict=False)):
            if symbol.axes != FULL:
                result[row] = self._lines.of_tensors(symbol, reduction.kind, active).numpy()
        return result

    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        active = self.active
        super().write(numbers, buffer_index, skip)
        self._lines.write(None if active is None else torch.from_numpy(active))
