"""Prints kernels of formulas with values of rows and columns: a loop over the rows of a chunk, and in it one over a row.

A kernel does one job (``_jobs.py``). A chunk is whole rows: some of one matrix, or all of several. Values of rows, columns and
matrices lie one behind the other for all tensors of a batch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import torch

from ravine.backends import compute_dtype
from ravine.backends._jobs import Job
from ravine.backends._layout import keeps_all
from ravine.backends.cpu._kernel import (
    ARRAYS,
    CHUNK_STATISTICS,
    LEAST,
    POINTER,
    Launch,
    kernel_text,
    load,
    moved,
    number_line,
    store,
    watching,
)
from ravine.backends.cpu._kernel_rounding import first_chunk_only, rounding_lines
from ravine.formula import Program
from ravine.formula._compensation import watched
from ravine.formula._operations import ALONG, FULL, OF_MATRIX, ROWS
from ravine.formula._python import Statements, code_name
from ravine.formula._rounding import as_stored
from ravine.formula._symbols import Symbol

_I64 = ctypes.c_int64


class MatrixLaunch(ctypes.Structure):
    """What a kernel works on: the fields of ``Launch``, and where the rows and columns of each chunk are."""

    _fields_ = (
        *Launch._fields_,
        ("width", _I64),  # of each tensor: how many columns
        ("matrices", _I64),  # of each chunk: how many matrices, and how many rows of each
        ("lines", _I64),
        ("matrix_at", _I64),  # of each chunk: its first matrix, row and column among those of all tensors
        ("row_at", _I64),
        ("column_at", _I64),
        ("part_at", _I64),  # where the sums of its columns go
        ("vectors", _I64),  # addresses of the values that are read
        ("made", _I64),  # addresses of the sums that are made
    )


_MATRIX_ARRAYS = {
    **ARRAYS,
    **dict.fromkeys(("matrices", "lines", "matrix_at", "row_at", "column_at", "part_at"), ("int64", "chunks")),
    "width": ("int64", "tensors"),
    "vectors": ("int64", "{vectors}"),
    "made": ("int64", "{made}"),
}


def matrix_source(program: Program, job: Job, dtypes: Mapping[str, torch.dtype], watch: bool = False) -> str:
    """The text of a job's kernel, for the given dtype of each buffer."""
    return _JobPrinter(program, job, dtypes, watch and "param" in job.writes).text()


class _JobPrinter:
    """What is printed of one job."""

    def __init__(self, program: Program, job: Job, dtypes: Mapping[str, torch.dtype], watch: bool) -> None:
        self.program, self.job, self.dtypes, self.watch = program, job, dtypes, watch
        self.real = "float64" if compute_dtype(list(dtypes.values())) is torch.float64 else "float32"
        self.reads = job.reads(watch)
        self.vectors = {
            s: f"{'m' if s.axes == OF_MATRIX else 'r' if s.axes == ROWS else 'c'}{i}" for i, s in enumerate(job.vectors)
        }
        self.element = {b: load(dtypes[b], f"{code_name(b)}_array[i]") for b in self.reads}

    def text(self) -> str:
        job, real = self.job, self.real
        size = 8 if real == "float64" else 4
        lines, names = [], dict(self.vectors)
        for i, symbol in job.numbers:
            names[symbol] = name = job.names.get(symbol) or f"n{i}"
            value = f"numbers[{i}, row]"
            lines.append(number_line(symbol, name, value, real))
        lines.append("columns, per, many = width[tensor], lines[chunk], matrices[chunk]")
        for row, b in enumerate(self.program.buffers):
            if b in self.reads or b in job.writes:
                at = f"{POINTER[self.dtypes[b]]}(address[{row}, tensor] + {self.dtypes[b].itemsize} * first)"
                lines.append(f"{code_name(b)}_array = carray({at}, n)")
        place = {"m": ("matrix_at", "many"), "r": ("row_at", "many * per"), "c": ("column_at", "many * columns")}
        for i, name in enumerate(self.vectors.values()):
            first, count = place[name[0]]
            lines.append(f"{name}_all = carray(at_{real}(vectors[{i}] + {size} * {first}[chunk]), {count})")
        for i, symbol in enumerate(job.along):
            first, count = ("row_at", "many * per") if ALONG[symbol.op] == -1 else ("part_at", "many * columns")
            lines.append(f"made{i} = carray(at_{real}(made[{i}] + {size} * {first}[chunk]), {count})")
            if ALONG[symbol.op] == -2:
                lines += [f"for j in range({count}):", f"    made{i}[j] = {real}(0)"]
        buffers = {s: code_name(name) for s, name in job.names.items() if s.axes == FULL}
        inner = [f"{code_name(b)} = {self.element[b]}" for b in self.reads]
        wanted = [*[""] * (len(job.along) + len(job.reductions)), *(f"{code_name(b)}_new" for b in job.writes)]
        constant = lambda value: f"{real}({value!r})"  # noqa: E731
        roots = as_stored(job.roots, job.writes, lambda b: keeps_all(self.dtypes[b]))
        seen = watched(roots) if self.watch else []
        body = Statements(
            [*roots, *seen], {**names, **buffers}, [*wanted, *[""] * len(seen)], constant=constant, place="first + i"
        )
        inner += body.lines
        computed = list(inner)
        along = body.results[: len(job.along)]
        summed = body.results[len(job.along) : len(job.along) + len(job.reductions)]
        before_row, after_row = [], []
        for i, (symbol, value) in enumerate(zip(job.along, along, strict=True)):
            total = symbol.op.endswith("sum")
            if ALONG[symbol.op] == -1:
                before_row.append(f"row{i} = {real}(0)")
                inner.append(
                    f"row{i} = add_value(row{i}, {value})" if total else f"row{i} = maximum(row{i}, abs({value}))"
                )
                after_row.append(f"made{i}[b * per + line] = row{i}")
            else:
                there = f"made{i}[b * columns + j]"
                inner.append(f"{there} += {value}" if total else f"{there} = maximum({there}, abs({value}))")
        before, after = self._sums(summed, inner, before_row, after_row, computed)
        if job.writes:
            written = body.results[len(along) + len(summed) : len(roots)]
            for b, value in zip(job.writes, written, strict=True):
                stored = store(self.dtypes[b], f"{real}({value})")
                inner.append(f"{code_name(b)}_array[i] = {stored}")
                if self.watch and b == "param":
                    seen_param = moved(self.dtypes, stored, real, body.results[-2:] if seen else ())
            if self.watch:
                first_lines, inside, last_lines = watching(real, seen_param, self.element["grad"])
                before, inner, after = before + first_lines, inner + inside, after + last_lines
        lines += before
        lines += self._cost_of_rounding({**names, **buffers})
        lines += self._nest(inner, before_row, after_row) + after
        return kernel_text(
            MatrixLaunch,
            _MATRIX_ARRAYS,
            lines,
            buffers=len(self.program.buffers),
            numbers=max(1, len(job.numbers) and max(i for i, _ in job.numbers) + 1),
            sums=max(1, *(row + 1 for row, _ in job.reductions), 1),
            statistics=len(CHUNK_STATISTICS),
            vectors=max(1, len(job.vectors)),
            made=max(1, len(job.along)),
        )

    def _cost_of_rounding(self, leaves: Mapping[Symbol, str]) -> list[str]:
        """The lines that say what rounding costs, for the chunk that begins a tensor."""
        if not self.watch:
            return []
        job, dtypes = self.job, self.dtypes
        count = len(job.roots) - len(job.writes)
        written = dict(zip(job.writes, job.roots[count:], strict=True))
        before, inside, after = rounding_lines(
            written,
            leaves,
            self.reads,
            {b: load(dtypes[b], f"{code_name(b)}_array[i]") for b in [*self.reads, *job.writes]},
            lambda b, value: load(dtypes[b], store(dtypes[b], value)),
            dtypes,
            self.real,
            whole=True,
        )
        return first_chunk_only([*before, *self._nest(inside), *after] if inside else [])

    def _nest(self, inner: Sequence[str], before_row: Sequence[str] = (), after_row: Sequence[str] = ()) -> list[str]:
        """Lines for every element of a chunk, with those before and after each row."""
        load_vectors: dict[str, list[str]] = {"m": [], "r": [], "c": []}
        place = {"m": "b", "r": "b * per + line", "c": "b * columns + j"}
        for symbol, name in self.vectors.items():
            value = f"{name}_all[{place[name[0]]}]"
            load_vectors[name[0]].append(f"{name} = {value} != 0.0" if symbol.truth else f"{name} = {value}")
        element = ["i = at + j", *load_vectors["c"], *inner]
        row = [*load_vectors["r"], *before_row, "at = (b * per + line) * columns", "for j in range(columns):"]
        row += [f"    {line}" for line in element] + list(after_row)
        matrix = [*load_vectors["m"], "for line in range(per):", *(f"    {line}" for line in row)]
        return ["for b in range(many):", *(f"    {line}" for line in matrix)]

    def _sums(
        self, values: Sequence[str], inner: list[str], before_row: list[str], after_row: list[str], computed: list[str]
    ) -> tuple[list[str], list[str]]:
        """The lines before and after the loops that sum over the chunk, row by row; adds those in them.

        A row is summed in the dtype of the loop, rows in double precision. Sums that float32 cannot hold are made again.
        """
        before, after, again = [], [], []
        for k, ((row, reduction), value) in enumerate(zip(self.job.reductions, values, strict=True)):
            if reduction.kind == "amax":
                before.append(f"total{k} = magnitude({self.real}(0))")
                inner.append(f"total{k} = larger(total{k}, magnitude({self.real}({value})))")
                after.append(f"sums[{row}, chunk] = from_magnitude(total{k})")
                continue
            add = "add_square" if reduction.kind == "squares" else "add_value"
            before.append(f"total{k} = 0.0")
            before_row.append(f"part{k} = {self.real}(0)")
            inner.append(f"part{k} = {add}(part{k}, {value})")
            after_row.append(f"total{k} += part{k}")
            after.append(f"sums[{row}, chunk] = total{k}")
            if self.real == "float32" and not reduction.guard:
                again.append((k, row, reduction, f"{add}(wide{k}, float64({value}))"))
        if again:
            fine = [f"{f'{LEAST} < total{k} and ' * (r.kind == 'squares')}isfinite(total{k})" for k, _, r, _ in again]
            after.append(f"if not ({' and '.join(fine)}):")
            after += [f"    wide{k} = 0.0" for k, *_ in again]
            wide = [*computed, *(f"wide{k} = {text}" for k, _, _, text in again)]
            after += [f"    {line}" for line in self._nest(wide)]
            after += [f"    sums[{row}, chunk] = wide{k}" for k, row, *_ in again]
        return before, after
