"""A batch of CPU tensors whose formula has values of rows and columns.

Kernels go over the elements (``_matrix_kernel.py``). Between them torch computes what there is of rows, columns and matrices,
for all tensors at once: such values lie one behind the other. States of rows and columns are views of them.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends import Numbers, compute_dtype
from ravine.backends.cpu._batch import Fused
from ravine.backends.cpu._compiler import compile_kernel
from ravine.backends.cpu._kernel import CHUNK
from ravine.backends.cpu._matrix_kernel import Job, MatrixLaunch, matrix_source, of_elements, vectors_of
from ravine.backends.cpu._threads import Runner
from ravine.formula import _functions as functions
from ravine.formula._operations import ALONG, COLUMNS, FULL, OF_MATRIX, ROWS
from ravine.formula._pieces import Reduced
from ravine.formula._python import code_name
from ravine.formula._symbols import Symbol, postorder

_OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": operator.and_,
    "or": operator.or_,
    "abs": abs,
}


class MatrixFused(Fused):
    """A batch that runs on kernels of matrices; see ``ravine.backends.Batch``. Its tensors are contiguous."""

    # --- making it --------------------------------------------------------------------------------------------

    def _cuts(self, sizes: Sequence[int]) -> list[tuple[int, int, int]]:
        """The chunks, and where their rows and columns are."""
        shapes = [(p.shape[:-2].numel(), *p.shape[-2:]) for p in self.params]
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
        self._counts = {OF_MATRIX: matrix, ROWS: row, COLUMNS: column}
        self._parts = total_columns + part
        self._places = np.array(places, dtype=np.int64).reshape(-1, 6).T.copy()
        self._widths = np.array([columns for *_, columns in shapes], dtype=np.int64)
        many_, rows_, columns_ = (torch.tensor(each) for each in zip(*shapes, strict=True))
        tensor = torch.arange(len(shapes))
        of_matrix = tensor.repeat_interleave(many_)
        index = torch.arange(matrix)
        self._matrix_of = {OF_MATRIX: index, ROWS: index.repeat_interleave(rows_[of_matrix])}
        self._matrix_of[COLUMNS] = index.repeat_interleave(columns_[of_matrix])
        self._tensors_of = {axes: of_matrix[matrices] for axes, matrices in self._matrix_of.items()}
        return cuts

    def _compiled(self, dtypes: Mapping[str, torch.dtype], watch: bool) -> list[Runner | None]:
        """The kernels of jobs are compiled here; passes have none of their own."""
        self._real = compute_dtype(list(dtypes.values()))
        self._jobs: list[list[tuple[Job, Runner]]] = []
        done: set[Symbol] = set()
        for index in range(len(self.program.passes)):
            jobs = self._jobs_of(index, done)
            self._jobs.append([(job, compile_kernel(matrix_source(self.program, job, dtypes, watch))) for job in jobs])
        return []

    def _jobs_of(self, index: int, done: set[Symbol]) -> list[Job]:
        """What kernels do in a pass: sums of rows and columns, level by level, and then the pass itself."""
        p = self.program.passes[index]
        names: dict[Symbol, str] = {}
        for symbol in postorder(p.results, into=lambda s: s.element and s.op != "result"):
            if symbol.op in ("buffer", "result"):
                names[symbol] = p.name_of(symbol)
        for symbol in p.numbers:
            if symbol.op in ("number", "kept"):
                names[symbol] = code_name(symbol.name)

        def job(along: Sequence[Symbol], results: Sequence[Symbol], reductions: Any, writes: Sequence[str]) -> Job:
            roots = [*(s.args[0] for s in along), *results]
            used = {s for s in postorder(roots, into=of_elements) if not s.axes and s.op != "constant"}
            numbers = tuple((i, n) for i, n in enumerate(p.numbers) if n in used)
            return Job(
                tuple(along), tuple(results), tuple(reductions), tuple(writes), numbers, vectors_of(roots), names
            )

        levels: dict[int, list[Symbol]] = {}
        depth: dict[Symbol, int] = {}
        for symbol in postorder(p.results, into=lambda s: s.element and s.op != "result"):
            below = max((depth.get(a, 0) for a in symbol.args), default=0) if symbol.op != "result" else 0
            makes = symbol.op in ALONG and symbol.args[0].axes == FULL
            depth[symbol] = below + makes
            if makes and symbol not in done:
                levels.setdefault(depth[symbol], []).append(symbol)
                done.add(symbol)
        jobs = [job(levels[level], [], [], []) for level in sorted(levels)]
        count = len(p.reductions)
        summed = [(i, r) for i, r in enumerate(p.reductions) if p.results[i].axes == FULL]
        written = [(s, b) for s, b in zip(p.results[count:], p.writes, strict=True) if self.program.axes(b) == FULL]
        results = [*(p.results[i] for i, _ in summed), *(s for s, _ in written)]
        if results:
            jobs.append(job([], results, summed, [b for _, b in written]))
        return jobs

    def _table(self, **fields: int) -> ctypes.Structure:
        """What kernels work on, and the memory of values of rows and columns."""
        self._state_values: dict[str, Tensor] = {}
        for name, initial in self.program.states.items():
            if isinstance(initial, Reduced):
                here = [s[name] for s in self.states]
                flat = torch.cat([t.detach().reshape(-1) for t in here])
                views = flat.split([t.numel() for t in here])
                for states, view, tensor in zip(self.states, views, here, strict=True):
                    states[name] = view.view(tensor.shape)
                self._state_values[name] = flat
        jobs = [job for of_pass in self._jobs for job, _ in of_pass]
        self._vectors, self._made = (
            np.zeros(max(map(len, lists), default=0) or 1, dtype=np.int64)
            for lists in ([job.vectors for job in jobs], [job.along for job in jobs])
        )
        names = ("matrices", "lines", "matrix_at", "row_at", "column_at", "part_at")
        places = {name: row.ctypes.data for name, row in zip(names, self._places, strict=True)}
        self._values: dict[Symbol, Any] = {}  # of this step
        return MatrixLaunch(
            **fields,
            **places,
            width=self._widths.ctypes.data,
            vectors=self._vectors.ctypes.data,
            made=self._made.ctypes.data,
        )

    # --- running ----------------------------------------------------------------------------------------------

    def gather(self) -> bool:
        self._values = {}  # of the step before
        return super().gather()

    def _run(self, index: int, numbers: Numbers | None) -> None:
        """Every kernel of a pass, and before each what it reads of rows and columns."""
        p = self.program.passes[index]
        if numbers is None:
            numbers = self._last
        elif p is self.program.passes[-1]:
            self._last = numbers
        self._set_numbers(numbers)
        for symbol, value in zip(p.numbers, numbers, strict=True):
            self._values[symbol] = (
                torch.from_numpy(value).to(self._real) if isinstance(value, np.ndarray) and value.ndim else float(value)
            )
        for job, kernel in self._jobs[index]:
            held = [self._flat_value(symbol) for symbol in job.vectors]
            self._vectors[: len(held)] = [t.data_ptr() for t in held]
            made = [
                torch.zeros(self._counts[ROWS] if ALONG[s.op] == -1 else self._parts, dtype=self._real)
                for s in job.along
            ]
            self._made[: len(made)] = [t.data_ptr() for t in made]
            self._launch.next_chunk = 0
            kernel(self._task, self.elements, self._chunks)
            for symbol, values in zip(job.along, made, strict=True):
                self._values[symbol] = (
                    values if ALONG[symbol.op] == -1 else self._joined(values, symbol.op.endswith("sum"))
                )

    _last: Numbers = ()

    def _joined(self, parts: Tensor, total: bool) -> Tensor:
        """The values of all columns, those of a matrix in several chunks joined."""
        for first, width, at, count in self._split:
            here = parts[at : at + width * count].view(count, width)
            parts[first : first + width] = here.sum(0) if total else here.amax(0)
        return parts[: self._counts[COLUMNS]]

    def _flat_value(self, symbol: Symbol) -> Tensor:
        """What a kernel reads of rows, columns or matrices."""
        value = self._value(symbol)
        value = value if isinstance(value, Tensor) else torch.tensor(value)
        flat: Tensor = value.to(self._real).expand(self._counts[symbol.axes]).contiguous()
        return flat

    def _value(self, symbol: Symbol) -> Any:
        """A value of rows, columns or matrices, of all tensors one behind the other; a number, or one for each tensor."""
        known = self._values
        for s in postorder([symbol], into=lambda s: s not in known and s.element and s.op not in ("buffer", "result")):
            if s not in known:
                known[s] = self._computed(s)
        return known[symbol]

    def _computed(self, symbol: Symbol) -> Any:
        op = symbol.op
        if op == "constant":
            return symbol.value
        if op == "buffer":
            return self._state_values[symbol.name].to(self._real)
        first = symbol.args[0]
        if op in ALONG:  # of what is one for each row or column already
            values = self._lifted(first, first.axes)
            to = torch.zeros(self._counts[OF_MATRIX], dtype=self._real)
            matrices = self._matrix_of[first.axes]
            if op.endswith("sum"):
                return to.index_add_(0, matrices, values)
            return to.scatter_reduce_(0, matrices, values.abs(), "amax")
        values = [self._lifted(a, symbol.axes) for a in symbol.args]
        compute: Any = _OPERATORS.get(op) or getattr(functions, op)
        return compute(*values)

    def _lifted(self, symbol: Symbol, axes: int) -> Any:
        """A known value as one for each row, column or matrix."""
        value = self._values[symbol]
        if symbol.axes == axes or not isinstance(value, Tensor) or not value.ndim:
            return value
        return value[self._matrix_of[axes] if symbol.axes else self._tensors_of[axes]]

    def reduce(self, index: int, numbers: Numbers) -> np.ndarray:
        result = super().reduce(index, numbers)
        p = self.program.passes[index]
        for row, (reduction, symbol) in enumerate(zip(p.reductions, p.results, strict=False)):
            if symbol.axes != FULL:
                result[row] = self._of_vector(symbol, reduction.kind)
        return result

    def _of_vector(self, symbol: Symbol, kind: str) -> np.ndarray:
        """What a reduction is of values of rows, columns or matrices, for each tensor."""
        values = self._flat_value(symbol).double()
        to, tensors = torch.zeros(len(self.params), dtype=torch.float64), self._tensors_of[symbol.axes]
        if kind == "top":
            return to.scatter_reduce_(0, tensors, values.abs(), "amax").numpy()
        return to.index_add_(0, tensors, values * values if kind == "squares" else values).numpy()

    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        super().write(numbers, buffer_index, skip)
        p = self.program.passes[-1]
        new: dict[str, Any] = {}
        for symbol, name in zip(p.results, p.writes, strict=True):
            if (axes := self.program.axes(name)) != FULL:
                self._value(symbol)
                value = self._lifted(symbol, axes)
                # A state that becomes another is taken before that is written.
                new[name] = value.clone() if symbol.op == "buffer" else value
        for name, value in new.items():
            state = self._state_values[name]
            if self.active is not None:
                stepped = torch.from_numpy(self.active)[self._tensors_of[self.program.axes(name)]]
                value = torch.where(stepped, torch.as_tensor(value, dtype=state.dtype), state)
            state.copy_(value) if isinstance(value, Tensor) else state.fill_(value)
        self._values = {}
