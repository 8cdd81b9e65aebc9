"""Prints a job of a formula with values of rows and columns (``ravine/backends/_jobs.py``) as a Triton kernel.

A program of the grid takes a tile: some matrices, or some rows and columns of one. Sums of rows and columns are those of a
tile; ``joined_source`` adds up those of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import torch

from ravine.backends import compute_dtype
from ravine.backends._jobs import Job
from ravine.backends.triton._pass_text import (
    ALIGNED,
    BATCH_SIGNATURE,
    CHUNK_STATISTICS,
    LEAST,
    TINY,
    KernelText,
    address_rows,
    block,
    constant_text,
    figure,
    kind_of,
    temporaries_of,
    temporary_arguments,
)
from ravine.formula import Program
from ravine.formula._operations import ALONG, FULL, OF_MATRIX, ROWS
from ravine.formula._python import Statements, code_name

#: Elements in a tile.
_ELEMENTS = 2048


class Tile(NamedTuple):
    """So many matrices, and rows and columns of each; powers of two."""

    matrices: int
    rows: int
    columns: int


def _tiles() -> tuple[Tile, ...]:
    made = []
    for columns in (4, 16, 128):
        for rows in (4, 16, _ELEMENTS // columns):
            rows = min(rows, _ELEMENTS // columns)
            made.append(Tile(_ELEMENTS // (rows * columns), rows, columns))
    return tuple(dict.fromkeys(made))


#: All that there are: few, since each is a kernel of its own.
TILES = _tiles()


def tile_for(rows: int, columns: int) -> int:
    """Which tile matrices of that shape are cut into."""
    fit = [t for t in TILES if t.columns >= min(columns, TILES[-1].columns)]
    narrowest = min(t.columns for t in fit)
    fit = [t for t in fit if t.columns == narrowest]
    tall = max(t.rows for t in fit)
    return TILES.index(min((t for t in fit if t.rows >= min(rows, tall)), key=lambda t: t.rows))


_TILE = """\
def kernel({arguments}):
    placed = tl.load(place + tl.program_id(0))
    tensor = placed & 0xFFFFFFFF
    tile = (placed >> 32).to(tl.int32)
    chunk = tl.load(first_chunk + tensor) + tile
    many = tl.load(size + tensor).to(tl.int32)
    rows = tl.load(size + tensors + tensor).to(tl.int32)
    columns = tl.multiple_of(tl.load(size + 2 * tensors + tensor).to(tl.int32), {multiple})
    across, down = (columns + {last_column}) // {columns}, (rows + {last_row}) // {rows}
    tile_across, tile_down = tile % across, tile // across % down
    first_b, first_r, first_c = tile // across // down * {matrices}, tile_down * {rows}, tile_across * {columns}
    grad_at = tl.load(address + tensors + tensor)
    many = tl.where((grad_at == 0) | (tl.load(skip) != 0), 0, many)  # no gradient, or a step that changes nothing
    b = tl.arange(0, {matrices})[:, None, None]
    r = tl.arange(0, {rows})[None, :, None]
    c = tl.arange(0, {columns})[None, None, :]
    inside_b, inside_r, inside_c = b < many - first_b, r < rows - first_r, c < columns - first_c
    inside = inside_b & inside_r & inside_c
    at = (b * rows + r) * columns + c
    first = (first_b.to(tl.int64) * rows + first_r) * columns + first_c
    line = (first_b + b).to(tl.int64) * rows + first_r + r
    column = (first_b + b).to(tl.int64) * columns + first_c + c
{body}
"""
_TABLES = {"m": 3, "r": 4, "c": 5, "row parts": 6, "column parts": 7}


class _TilePrinter:
    """What is printed of one job."""

    def __init__(
        self,
        program: Program,
        index: int,
        job: Job,
        dtypes: Mapping[str, torch.dtype],
        watch: bool,
        tile: Tile,
        aligned: bool,
    ) -> None:
        self.program, self.index, self.job, self.dtypes = program, index, job, dtypes
        self.watch, self.tile, self.align = watch, tile, ALIGNED if aligned else 1
        self.real = kind_of(compute_dtype(list(dtypes.values())))
        self.reads = job.reads(watch)
        self.body: list[str] = []

    def text(self) -> str:
        names = self._known()
        values = self._elements(names)
        count, summed = len(self.job.along), len(self.job.reductions)
        self._lines(values[:count])
        if self.watch:
            self._watched()
        else:
            self._sums(values[count : count + summed])
        t = self.tile
        return _TILE.format(
            arguments=", ".join(name for name, _ in tile_signature(self.program, self.index, self.job, self.real)),
            multiple=16 if self.align > 1 else 1,
            matrices=t.matrices,
            rows=t.rows,
            columns=t.columns,
            last_row=t.rows - 1,
            last_column=t.columns - 1,
            body=block(self.body),
        )

    def _known(self) -> dict[object, str]:
        """The names of numbers and of values of rows, columns and matrices, which are loaded."""
        names: dict[object, str] = {}
        for i, symbol in self.job.numbers:
            names[symbol] = name = self.job.names.get(symbol) or f"n{i}"
            text = f"tl.load(numbers + {i} * tensors + tensor)"
            self.body.append(f"{name} = {text} != 0" if symbol.truth else f"{name} = {text}.to({self.real})")
        places = {"m": ("first_b + b", "inside_b"), "r": ("line", "inside_b & inside_r")}
        places["c"] = "column", "inside_b & inside_c"
        for i, symbol in enumerate(self.job.vectors):
            of = "m" if symbol.axes == OF_MATRIX else "r" if symbol.axes == ROWS else "c"
            place, mask = places[of]
            first = f"tl.load(size + {_TABLES[of]} * tensors + tensor)"
            text = f"tl.load(vector{i} + {first} + {place}, mask={mask}, other=0.0)"
            names[symbol] = name = f"value{i}"
            self.body.append(f"{name} = {text} != 0" if symbol.truth else f"{name} = {text}")
        return names

    def _elements(self, names: dict[object, str]) -> list[str]:
        """Load, compute and store the elements; gives what is computed."""
        job, rows, memory = self.job, address_rows(self.program), temporaries_of(self.program, self.index)
        for b in dict.fromkeys([*self.reads, *job.writes]):
            start = f"tl.load(address + {rows[b]} * tensors + tensor)" if b in rows else ""
            start = start or f"memory{memory.index(b)} + {self.dtypes[b].itemsize} * tl.load(offset + tensor)"
            pointer = f"({start} + {self.dtypes[b].itemsize} * first).to(tl.pointer_type({kind_of(self.dtypes[b])}))"
            self.body.append(f"{code_name(b)}at = tl.multiple_of({pointer}, {self.align}) + at")
        for b in self.reads:
            self.body.append(f"{code_name(b)} = widen(tl.load({code_name(b)}at, mask=inside, other=0.0), {self.real})")
        buffers = {s: code_name(name) for s, name in job.names.items() if s.axes == FULL}
        wanted = [*[""] * (len(job.along) + len(job.reductions)), *(f"{code_name(b)}new" for b in job.writes)]
        made = Statements(
            job.roots,
            {**names, **buffers},  # type: ignore[dict-item]
            wanted,
            constant=lambda value: constant_text(self.real, value),
            calls={"div", "pow"},
        )
        self.body += made.lines
        written = made.results[len(job.along) + len(job.reductions) :]
        for b, value in zip(job.writes, written, strict=True):
            self.body.append(f"{code_name(b)}stored = narrow({value}, {kind_of(self.dtypes[b])})")
            self.body.append(f"tl.store({code_name(b)}at, {code_name(b)}stored, mask=inside)")
        return made.results

    def _lines(self, values: list[str]) -> None:
        """The tile's part of sums of rows and columns, to their places."""
        for i, (symbol, value) in enumerate(zip(self.job.along, values, strict=True)):
            of_rows = ALONG[symbol.op] == -1
            total = figure(value, "sum" if symbol.op.endswith("sum") else "top")
            self.body.append(f"along{i} = value(over({total}, {2 if of_rows else 1}))")
            part, tiles, per, line = (
                ("row parts", "tile_across", "rows", "line")
                if of_rows
                else ("column parts", "tile_down", "columns", "column")
            )
            mask = "inside_b & inside_r" if of_rows else "inside_b & inside_c"
            there = (
                "b < tl.load(size + tensor).to(tl.int32) - first_b"  # also without a gradient, so that all is written
            )
            mask = mask.replace("inside_b", f"({there})")
            first = f"tl.load(size + {_TABLES[part]} * tensors + tensor)"
            every = f"{tiles}.to(tl.int64) * tl.load(size + tensor) * {per}"
            axis = 2 if of_rows else 1
            self.body.append(
                f"tl.store(made{i} + {first} + {every} + {line}, tl.expand_dims(along{i}, {axis}), mask={mask})"
            )

    def _watched(self) -> None:
        """The statistics of the tile, in the order of CHUNK_STATISTICS."""
        self.body.append(
            f"moved = tl.where(inside, widen({code_name('param')}stored, {self.real}) - {code_name('param')}, 0.0)"
        )
        row = {s.name: i for i, s in enumerate(CHUNK_STATISTICS)}
        for name, value in (("grad", "grad"), ("param", "param"), ("update", "moved")):
            self.body.append(f"{name}_square = {_whole(f'{value} * {value}')}")
            self.body.append(f"{name}_top = value({_whole(f'magnitude({value})')})")
            self.body += [_put(row[f"{name}_square"], f"{name}_square"), _put(row[f"{name}_max"], f"{name}_top")]
        self.body += [
            "nonfinite = tl.zeros([], tl.int32)",
            f"if (isfinite(grad_square) == 0) | ((grad_top < {TINY}) & (grad_top > 0.0)):",
            "    wide = grad.to(tl.float64)",
            f"    {_put(row['grad_square'], _whole('wide * wide'))}",
            f"    nonfinite = {_whole('isfinite(grad).to(tl.int32) ^ 1', add=True)}",
            _put(row["nonfinite"], "nonfinite"),
        ]

    def _sums(self, values: list[str]) -> None:
        """The tile's part of sums of whole tensors; those that float32 cannot hold are made again."""
        for k, ((row, reduction), value) in enumerate(zip(self.job.reductions, values, strict=True)):
            self.body.append(f"total{k} = {_whole(figure(value, reduction.kind))}")
            if reduction.kind == "top":
                self.body.append(_put(row, f"value(total{k})"))
                continue
            self.body.append(_put(row, f"total{k}"))
            if self.real == "tl.float32" and not reduction.guard:
                fine = f"(total{k} > {LEAST}) & " if reduction.kind == "squares" else ""
                self.body.append(f"if ({fine}isfinite(total{k})) == 0:")
                self.body.append(f"    {_put(row, _whole(figure(f'({value}).to(tl.float64)', reduction.kind)))}")


def _whole(value: str, add: bool = False) -> str:
    """A figure over a tile; whole numbers are compared unless they are to be added."""
    over = "tl.sum" if add else "over"
    return f"{over}({over}({over}({value}, 2), 1), 0)"


def _put(row: int, value: str) -> str:
    return f"tl.store(figures + {row} * chunks + chunk, {value}.to(tl.float64))"


def tile_signature(program: Program, index: int, job: Job, real: str) -> tuple[tuple[str, str], ...]:
    """The arguments of a job's kernel: those of all kernels, temporaries, values that are read, sums that are made."""
    pointer = "*fp64" if real == "tl.float64" else "*fp32"
    lines = [f"vector{i}" for i in range(len(job.vectors))] + [f"made{i}" for i in range(len(job.along))]
    return (*BATCH_SIGNATURE, *temporary_arguments(program, index), *((name, pointer) for name in lines))


def tile_source(
    program: Program,
    index: int,
    job: Job,
    dtypes: Mapping[str, torch.dtype],
    watch: bool,
    tile: Tile,
    aligned: bool,
) -> KernelText:
    """The kernel of a job of pass ``index``, for the given dtype of each buffer.

    With ``watch`` the job that writes the parameter also gives the statistics of each tile. ``aligned``: every row of every
    tensor begins at a multiple of 16 bytes and of 16 elements.
    """
    printer = _TilePrinter(program, index, job, dtypes, watch and "param" in job.writes, tile, aligned)
    return KernelText(printer.text(), tile_signature(program, index, job, printer.real), 8)


#: Lines that one program of ``joined_source`` adds up, and parts at a time.
JOINED, _PARTS = 32, 64
_JOINED = """\
def kernel(place, parts, lines, parts_at, lines_at, counts, made):
    placed = tl.load(place + tl.program_id(0))
    tensor = placed & 0xFFFFFFFF
    count, many = tl.load(counts + tensor), tl.load(lines + tensor)
    line = (placed >> 32) * {lines} + tl.arange(0, {lines})[None, :]
    from_ = parts + tl.load(parts_at + tensor) + line
    total = {kind}(tl.zeros([{parts}, {lines}], tl.float64))
    for first in range(0, count, {parts}):
        part = first + tl.arange(0, {parts})[:, None]
        x = tl.load(from_ + part * many, mask=(part < count) & (line < many), other=0.0)
        total = joined(total, {kind}(x.to(tl.float64)))
    whole = value(over(total, 0))
    tl.store(made + tl.load(lines_at + tensor) + tl.reshape(line, [{lines}]), whole.to({real}), mask=tl.reshape(line < many, [{lines}]))
"""


@cache
def joined_source(real: str, top: bool) -> KernelText:
    """The kernel that makes the sums of whole rows or columns from those of tiles, always in the same order.

    Args:
        real: the type of the values.
        top: largest magnitudes instead of sums.
    """
    text = _JOINED.format(lines=JOINED, parts=_PARTS, kind="magnitude" if top else "", real=real)
    pointer = "*fp64" if real == "tl.float64" else "*fp32"
    tables = [(name, "*i64") for name in ("lines", "parts_at", "lines_at", "counts")]
    return KernelText(text, (("place", "*i64"), ("parts", pointer), *tables, ("made", pointer)), 4)
