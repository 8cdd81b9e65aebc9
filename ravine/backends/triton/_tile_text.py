"""Prints a job of a formula with values of rows and columns (``ravine/backends/_jobs.py``) as a Triton kernel.

A program of the grid takes a tile: some matrices, or some rows and columns of one, from above to below in a few steps. Sums
of rows and columns are those of a tile; ``joined_source`` adds up those of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import NamedTuple

import torch

from ravine.backends import compute_dtype
from ravine.backends._jobs import Job
from ravine.backends._layout import keeps_all
from ravine.backends.triton._kernel_text import (
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
    number_line,
    temporaries_of,
    temporary_arguments,
)
from ravine.formula import Program
from ravine.formula._compensation import watched
from ravine.formula._operations import ALONG, FULL, OF_MATRIX, ROWS
from ravine.formula._python import Statements, code_name
from ravine.formula._rounding import as_stored
from ravine.formula._symbols import Symbol

#: Elements that a program works on at a time, and how often it goes on to the rows below.
_ELEMENTS, STEPS = 2048, 4


class Tile(NamedTuple):
    """So many matrices, and rows and columns of each that are stepped at a time; powers of two."""

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
    every = tl.load(size + tensor).to(tl.int32)
    rows = tl.load(size + tensors + tensor).to(tl.int32)
    columns = tl.multiple_of(tl.load(size + 2 * tensors + tensor).to(tl.int32), {multiple})
    across, down = (columns + {last_column}) // {columns}, (rows + {last_row}) // {deep}
    tile_across, tile_down = tile % across, tile // across % down
    first_b, start, first_c = tile // across // down * {matrices}, tile_down * {deep}, tile_across * {columns}
    end = tl.minimum(rows, start + {deep})
    grad_at = tl.load(address + tensors + tensor)
    many = tl.where((grad_at == 0) | (tl.load(skip) != 0), 0, every)  # no gradient, or a step that changes nothing
    b = tl.arange(0, {matrices})[:, None, None]
    r = tl.arange(0, {rows})[None, :, None]
    c = tl.arange(0, {columns})[None, None, :]
    inside_b, inside_c = b < many - first_b, c < columns - first_c
    there_b = b < every - first_b  # sums are written without a gradient too
    first = (first_b.to(tl.int64) * rows + start) * columns + first_c
    column = (first_b + b).to(tl.int64) * columns + first_c + c
{before}
    for low in range(start, end, {rows}):
{where}
{inside}
{after}
"""
#: Where the elements of a step are, and which lines they are in.
_WHERE = """\
        inside_r = r < rows - low
        inside = inside_b & inside_r & inside_c
        at = (b * rows + low - start + r).to(tl.int64) * columns + c
        line = (first_b + b).to(tl.int64) * rows + low + r"""
_AGAIN = """\
if {condition}:
    {wide} = tl.zeros([], tl.float64)
    for low in range(start, end, {rows}):
{where}
{body}
"""


class SizeRow(IntEnum):
    """The rows of the table of sizes: of each tensor its matrices, rows and columns, and where its values begin."""

    MANY, ROWS, COLUMNS, MATRIX, ROW, COLUMN, ROW_PARTS, COLUMN_PARTS = range(8)


_BEGINS = {"m": SizeRow.MATRIX, "r": SizeRow.ROW, "c": SizeRow.COLUMN}


class _TilePrinter:
    """What is printed of one job: lines before the loop over the tile's rows, in it, and after it."""

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
        self.watch, self.align = watch, ALIGNED if aligned else 1
        # Without vectors each element has an address of its own, in registers: half as many at a time.
        self.deep, self.tile = tile.rows * STEPS, tile if aligned else tile._replace(rows=tile.rows // 2)
        self.real = kind_of(compute_dtype(list(dtypes.values())))
        self.reads = job.reads(watch)
        self.before: list[str] = []
        self.inside: list[str] = []
        self.after: list[str] = []

    def text(self) -> str:
        values = self._elements()
        computed = list(self.inside)
        self._store(values)
        count = len(self.job.along)
        self._lines(values[:count])
        if self.watch:
            self._watched()
        else:
            self._sums(values[count : count + len(self.job.reductions)], computed)
        t = self.tile
        return _TILE.format(
            arguments=", ".join(name for name, _ in tile_signature(self.program, self.index, self.job, self.real)),
            multiple=16 if self.align > 1 else 1,
            matrices=t.matrices,
            rows=t.rows,
            columns=t.columns,
            deep=self.deep,
            last_row=self.deep - 1,
            last_column=t.columns - 1,
            before=block(self.before),
            where=_WHERE,
            inside=block(self.inside, 2),
            after=block(self.after),
        )

    def _known(self) -> dict[Symbol, str]:
        """The names of numbers and of values of rows, columns and matrices, which are loaded."""
        names: dict[Symbol, str] = {}
        for i, symbol in self.job.numbers:
            names[symbol] = name = self.job.names.get(symbol) or f"n{i}"
            text = f"tl.load(numbers + {i} * tensors + tensor)"
            self.before.append(number_line(symbol, name, text, self.real))
        for i, symbol in enumerate(self.job.vectors):
            of = "m" if symbol.axes == OF_MATRIX else "r" if symbol.axes == ROWS else "c"
            place = {"m": "first_b + b", "r": "line", "c": "column"}[of]
            mask = {"m": "inside_b", "r": "inside_b & inside_r", "c": "inside_b & inside_c"}[of]
            self.before.append(f"vector{i} += tl.load(size + {_BEGINS[of].value} * tensors + tensor)")
            text = f"tl.load(vector{i} + {place}, mask={mask}, other=0.0)"
            names[symbol] = name = f"value{i}"
            lines = self.inside if of == "r" else self.before
            lines.append(f"{name} = {text} != 0" if symbol.truth else f"{name} = {text}")
        return names

    def _elements(self) -> list[str]:
        """Load and compute the elements; gives what is computed."""
        job, rows, memory = self.job, address_rows(self.program), temporaries_of(self.program, self.index)
        names = self._known()
        for b in dict.fromkeys([*self.reads, *job.writes]):
            start = f"tl.load(address + {rows[b]} * tensors + tensor)" if b in rows else ""
            start = start or f"memory{memory.index(b)} + {self.dtypes[b].itemsize} * tl.load(offset + tensor)"
            pointer = f"({start} + {self.dtypes[b].itemsize} * first).to(tl.pointer_type({kind_of(self.dtypes[b])}))"
            self.before.append(f"{code_name(b)}at = tl.multiple_of({pointer}, {self.align})")
        for b in self.reads:
            text = f"tl.load({code_name(b)}at + at, mask=inside, other=0.0)"
            self.inside.append(f"{code_name(b)} = widen({text}, {self.real})")
        buffers = {s: code_name(name) for s, name in job.names.items() if s.axes == FULL}
        roots = as_stored(job.roots, job.writes, lambda b: keeps_all(self.dtypes[b]))
        seen = watched(roots) if self.watch else []
        made = Statements(
            [*roots, *seen],
            {**names, **buffers},
            [
                *[""] * (len(job.along) + len(job.reductions)),
                *(f"{code_name(b)}new" for b in job.writes),
                *[""] * len(seen),
            ],
            constant=lambda value: constant_text(self.real, value),
            calls={"div", "pow", "cube_root"},
            place="first + at",
        )
        self.inside += made.lines
        self.seen = made.results[len(roots) :]
        return made.results[: len(roots)]

    def _store(self, values: list[str]) -> None:
        written = values[len(values) - len(self.job.writes) :] if self.job.writes else []
        for b, value in zip(self.job.writes, written, strict=True):
            self.inside.append(f"{code_name(b)}stored = narrow({value}, {kind_of(self.dtypes[b])})")
            self.inside.append(f"tl.store({code_name(b)}at + at, {code_name(b)}stored, mask=inside)")

    def _lines(self, values: list[str]) -> None:
        """The tile's part of sums of rows and columns, to their places."""
        t = self.tile
        for i, (symbol, value) in enumerate(zip(self.job.along, values, strict=True)):
            total = figure(value, "sum" if symbol.op.endswith("sum") else "amax")
            put = "tl.store(made{} + {}, tl.expand_dims(value({}), {}), mask={})"
            if ALONG[symbol.op] == -1:
                parts = f"tile_across.to(tl.int64) * every * rows + tl.load(size + {SizeRow.ROW_PARTS.value} * tensors + tensor)"
                self.before.append(f"made{i} += {parts}")
                self.inside.append(put.format(i, "line", f"over({total}, 2)", 2, "there_b & inside_r"))
                continue
            parts = f"tile_down.to(tl.int64) * every * columns + tl.load(size + {SizeRow.COLUMN_PARTS.value} * tensors + tensor)"
            self.before.append(f"made{i} += {parts}")
            self.before.append(
                f"along{i} = {_kind(total)}(tl.zeros([{t.matrices}, {t.rows}, {t.columns}], {self.real}))"
            )
            self.inside.append(f"along{i} = joined(along{i}, {total})")
            self.after.append(put.format(i, "column", f"over(along{i}, 1)", 1, "there_b & inside_c"))

    def _total(self, name: str, value: str) -> None:
        """A figure that is added up over the tile, thread by thread, and then over its threads."""
        t = self.tile
        together = min(4, t.columns)
        shape = f"{t.matrices}, {t.rows}, {t.columns // together}"
        self.before.append(f"{name} = {_kind(value)}(tl.zeros([{shape}], {self.real}))")
        # Neighbours are one thread's where it reads vectors; else it has an element here and there.
        split, axis = (
            (f"{shape}, {together}", 3)
            if self.align > 1
            else (f"{t.matrices}, {t.rows}, {together}, {shape.rpartition(' ')[2]}", 2)
        )
        self.inside.append(f"{name} = joined({name}, over(tl.reshape({value}, [{split}]), {axis}))")
        self.after.append(f"{name} = {_whole(name)}")

    def _watched(self) -> None:
        """The statistics of the tile, in the order of CHUNK_STATISTICS."""
        after, before = self.seen or (f"widen(paramstored, {self.real})", "param")
        self.inside.append(f"moved = tl.where(inside, {after} - {before}, 0.0)")
        row = {s.name: i for i, s in enumerate(CHUNK_STATISTICS)}
        for name, value in (("grad", "grad"), ("param", before), ("update", "moved")):
            self._total(f"{name}_square", f"{value} * {value}")
            self._total(f"{name}_top", f"magnitude({value})")
            self.after += [
                _put(row[f"{name}_square"], f"{name}_square"),
                _put(row[f"{name}_max"], f"value({name}_top)"),
            ]
        load = f"grad = widen(tl.load(gradat + at, mask=inside, other=0.0), {self.real})"
        wide = [load, "wide += " + _whole("grad.to(tl.float64) * grad.to(tl.float64)")]
        wide.append("nonfinite += " + _whole("isfinite(grad).to(tl.int32) ^ 1", add=True))
        self.after += ["nonfinite = tl.zeros([], tl.int32)", "top = value(grad_top)"]
        self._again(f"(isfinite(grad_square) == 0) | ((top < {TINY}) & (top > 0.0))", "wide", wide, row["grad_square"])
        self.after.append(_put(row["nonfinite"], "nonfinite"))

    def _sums(self, values: list[str], computed: list[str]) -> None:
        """The tile's part of sums of whole tensors; those that float32 cannot hold are made again."""
        for k, ((row, reduction), value) in enumerate(zip(self.job.reductions, values, strict=True)):
            self._total(f"total{k}", figure(value, reduction.kind))
            if reduction.kind == "amax":
                self.after.append(_put(row, f"value(total{k})"))
                continue
            self.after.append(_put(row, f"total{k}"))
            if self.real == "tl.float32" and not reduction.guard:
                fine = f"(total{k} > {LEAST}) & " if reduction.kind == "squares" else ""
                again = [*computed, f"wide{k} += " + _whole(figure(f"({value}).to(tl.float64)", reduction.kind))]
                self._again(f"({fine}isfinite(total{k})) == 0", f"wide{k}", again, row)

    def _again(self, condition: str, wide: str, body: list[str], row: int) -> None:
        text = _AGAIN.format(condition=condition, wide=wide, rows=self.tile.rows, where=_WHERE, body=block(body, 2))
        self.after += [*text.rstrip().splitlines(), f"    {_put(row, wide)}"]


def _kind(value: str) -> str:
    """How the zeros of a figure begin that are to be compared, not added."""
    return "magnitude" if value.startswith("magnitude") else ""


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
    wide_waves: bool = False,
) -> KernelText:
    """The kernel of a job of pass ``index``, for the given dtype of each buffer.

    With ``watch`` the job that writes the parameter also gives the statistics of each tile. ``aligned``: every row of every
    tensor begins at a multiple of 16 bytes and of 16 elements; ``wide_waves``: 64 threads in a wave.
    """
    printer = _TilePrinter(program, index, job, dtypes, watch and "param" in job.writes, tile, aligned)
    return KernelText(printer.text(), tile_signature(program, index, job, printer.real), 4 if wide_waves else 8)


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
