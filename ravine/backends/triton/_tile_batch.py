"""A batch on a GPU whose formula has values of rows and columns.

Kernels go over tiles of the tensors (``_tile_text.py``), one launch for each job and each form of tile. Between them torch
computes what there is of rows, columns and matrices (``ravine/backends/_line_values.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends import Numbers, Staged, to_device
from ravine.backends._jobs import Job, jobs_of
from ravine.backends._line_values import LineValues
from ravine.backends.triton._chunk_tables import Tables, current_stream
from ravine.backends.triton._device_batch import DeviceBatch, on_device
from ravine.backends.triton._kernel_text import GRAD, PARAM, STATE, kind_of
from ravine.backends.triton._stage_text import sum_source
from ravine.backends.triton._text_compiler import Kernel, Launch, kernel
from ravine.backends.triton._tile_text import JOINED, STEPS, TILES, SizeRow, joined_source, tile_for, tile_source
from ravine.formula._operations import ALONG, COLUMNS, FULL, ROWS
from ravine.formula._passes import Pass

#: What tells alignments apart stands in the bits below the number of a tile.
_LOOSE = GRAD + PARAM + STATE
_TILE = _LOOSE + 1


class DeviceLineValues(LineValues):
    """Those of a batch on a device: sums are always added in the same order."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._begins: dict[tuple[int, bool], Tensor] = {}

    def _total(self, values: Tensor, axes: int, to: Tensor, count: int, top: bool) -> Tensor:
        made = torch.zeros(count, dtype=torch.float64, device=self.device)
        add_up = kernel(sum_source(1, (0,) if top else ()), self.device)
        begins = self._where(axes, to, count)
        add_up.bind((count, 1, 1), values.contiguous(), begins, made, len(values), count, 1, 1)(
            current_stream(self.device)
        )
        return made

    def _where(self, axes: int, to: Tensor, count: int) -> Tensor:
        """Where the values of each place begin: those of one stand together."""
        key = axes, to is self._tensor_of[axes]
        if key not in self._begins:
            self._begins[key] = torch.searchsorted(to, torch.arange(count + 1, device=self.device))
        return self._begins[key]


class MatrixDeviceBatch(DeviceBatch):
    """A batch that runs on kernels of tiles; see ``ravine.backends.Batch``. Its tensors are contiguous."""

    @property
    def may_be_brief(self) -> bool:
        return False

    # --- making it --------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._lines = DeviceLineValues(self.program, self.params, self.states, self._real)
        self._jobs = jobs_of(self.program)
        self._tile_kernels: dict[tuple[int, int, int], Kernel] = {}

    def _cut(self) -> Tables:
        shapes = np.array(self._lines.shapes, dtype=np.int64).reshape(-1, 3)
        many, rows, columns = shapes.T
        which = np.array([tile_for(r, c) for r, c in shapes[:, 1:].tolist()])
        tiles = (np.array(TILES, dtype=np.int64) * (1, STEPS, 1))[which]
        deep, down, across = (-(-shapes // tiles)).T
        # In the order of ``SizeRow``: sizes, then where the values of each tensor begin, and those of its tiles.
        lengths = [many, many * rows, many * columns, many * rows * across, many * columns * down]
        self._table = np.stack([many, rows, columns, *(np.cumsum(each) - each for each in lengths)])
        self._parts = {ROWS: int(lengths[3].sum()), COLUMNS: int(lengths[4].sum())}
        self._joins = {ROWS: self._join(ROWS, across), COLUMNS: self._join(COLUMNS, down)}
        # Rows that do not all begin at 16 bytes are as loose as addresses can be.
        kinds = which * _TILE + _LOOSE * (columns % 16 != 0)
        counts = np.where((shapes > 0).all(axis=1), deep * down * across, 0)
        return Tables(self._table, counts, self._gather.addresses, self._device, kinds)

    def _join(self, axes: int, tiles: np.ndarray) -> tuple[Tensor, ...] | None:
        """The tables of what adds up the sums of tiles; None if every line is in one tile."""
        if (tiles == 1).all():
            return None
        lines = self._table[SizeRow.MANY] * self._table[SizeRow.ROWS if axes == ROWS else SizeRow.COLUMNS]
        blocks = -(-lines // JOINED)
        tensor = np.repeat(np.arange(len(lines)), blocks)
        place = ((np.arange(len(tensor)) - (np.cumsum(blocks) - blocks)[tensor]) << 32) + tensor
        parts_at, lines_at = (
            (SizeRow.ROW_PARTS, SizeRow.ROW) if axes == ROWS else (SizeRow.COLUMN_PARTS, SizeRow.COLUMN)
        )
        tables = place, lines, self._table[parts_at], self._table[lines_at], tiles
        return tuple(to_device(torch.from_numpy(np.ascontiguousarray(t, dtype=np.int64)), self._device) for t in tables)

    def _compile(self) -> None:
        for index, jobs in enumerate(self._jobs):
            for which, job in enumerate(jobs):
                for kind in self._tables.forms():
                    self._tile_kernel(index, which, job, kind)

    def _tile_kernel(self, index: int, which: int, job: Job, kind: int) -> Kernel:
        """That of a job; printed and compiled once for each form of tile."""
        number, loose = divmod(kind, _TILE)
        key = index, which, number * 2 + (loose != 0)
        made = self._tile_kernels.get(key)
        if made is None:
            tile, program = TILES[number], self.program
            kind_of_tile = tile, loose == 0, self._wide_waves
            text = tile_source(program, index, job, self._dtypes, self._watched, *kind_of_tile)
            made = self._tile_kernels[key] = kernel(text, self._device)
        return made

    # --- running ----------------------------------------------------------------------------------------------

    def gather(self) -> bool:
        self._lines.start()
        return super().gather()

    def _bound(self, index: int, address: Tensor, figures: Tensor, skip: Tensor, key: Any) -> list[Launch]:
        launches: list[Launch] = [partial(self._take_numbers, index)]
        tables, n = self._tables, len(self.params)
        last = self.program.passes[index] if index == len(self._jobs) - 1 else None
        for which, job in enumerate(self._jobs[index]):
            bound = []
            for group in tables.launches:
                launch = self._launches.get(mine := (index, which, group, key))
                if launch is None:
                    launch = self._needed_later(self._tile_kernel, index, which, job, group.kind).bind(
                        (group.count, 1, 1),
                        *(group.place, tables.first_chunk, tables.size, address, self._numbers, figures, skip),
                        *(n, tables.chunks, *self._temporaries.offset),
                    )
                    if key is not None:
                        self._keep(mine, launch)
                bound.append(launch)
            if last and job.writes:
                launches.append(partial(self._make_new, last))
            launches.append(partial(self._run_job, job, bound))
        return [*launches, partial(self._make_new, last)] if last else launches

    def _take_numbers(self, index: int, stream: int, *memory: int) -> None:
        """The numbers of a pass, which are in their table now, for values of rows and columns."""
        for symbol, row in zip(self.program.passes[index].numbers, self._numbers, strict=False):
            self._lines.known[symbol] = row != 0 if symbol.truth else row.to(self._real, copy=True)

    @torch.no_grad()
    def _make_new(self, last: Pass, stream: int, *memory: int) -> None:
        self._lines.make_new(last)

    @torch.no_grad()
    def _run_job(self, job: Job, launches: Sequence[Launch], stream: int, *memory: int) -> None:
        lines = self._lines
        held = [lines.flat(symbol) for symbol in job.vectors]
        axes = [ROWS if ALONG[s.op] == -1 else COLUMNS for s in job.along]
        made = [torch.empty(self._parts[a], dtype=self._real, device=self._device) for a in axes]
        for launch in launches:
            launch(stream, *memory, *held, *made)
        for symbol, of, parts in zip(job.along, axes, made, strict=True):
            lines.known[symbol] = self._joined(of, parts, not symbol.op.endswith("sum"))

    def _joined(self, axes: int, parts: Tensor, top: bool) -> Tensor:
        """The sums of whole rows or columns from those of tiles."""
        if (tables := self._joins[axes]) is None:
            return parts
        place, lines, parts_at, lines_at, counts = tables
        made = torch.empty(self._lines.counts[axes], dtype=self._real, device=self._device)
        add_up = kernel(joined_source(kind_of(self._real), top), self._device)
        add_up.bind((len(place), 1, 1), place, parts, lines, parts_at, lines_at, counts, made)(
            current_stream(self._device)
        )
        return made

    @torch.no_grad()
    def reduce(self, index: int, numbers: Numbers | Staged) -> Tensor:
        result = super().reduce(index, numbers)
        p = self.program.passes[index]
        for row, (reduction, symbol) in enumerate(zip(p.reductions, p.results, strict=False)):
            if symbol.axes != FULL:
                with on_device(self._device):
                    # From the table on the device: in a graph a copy from the host would be read again at every replay.
                    active = None if self.active is None else self._address[1] != 0
                    result[row] = self._lines.of_tensors(symbol, reduction.kind, active)
        return result

    def _written(self, stepped: Tensor, all_are: bool) -> None:
        self._lines.write(None if all_are else stepped != 0)
