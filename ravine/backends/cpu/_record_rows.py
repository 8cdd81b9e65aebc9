"""Adds what kernels have found out in a step to the rows of a record, in one compiled loop after them.

Figures that wait until there are many of them are cold by then, and so is the code that adds them up: on small tensors that
cost more than all else that watching does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ravine.backends import STATISTICS, Batch, statistic
from ravine.backends.cpu._compiler import compile_kernel
from ravine.backends.cpu._kernel import CHUNK_STATISTICS

_SQUARES = sum(s.name.endswith("_square") for s in STATISTICS)
_MAXIMA = statistic(reduce="max")
_NONFINITE, _STEPS = statistic("nonfinite", "steps")
_NEVER = torch.iinfo(torch.int64).max
#: The fields that are addresses: the type of what lies there, and its shape.
_ARRAYS = {
    "chunk_of": ("int64", "tensors + 1"),
    "column_of": ("int64", "tensors"),
    "stepped": ("int64", "tensors"),
    "watch": ("float64", f"({len(CHUNK_STATISTICS)}, chunks)"),
    "sums": ("float64", f"(rows, {2 * _SQUARES + 2}, width)"),
    "maxima": ("float64", f"(rows, {len(_MAXIMA)}, width)"),
    "first": ("int64", "width"),
    "last": ("float64", f"({len(STATISTICS)}, width)"),
    "looked": ("int64", "width"),  # whether figures of a column are of this step, but for those of gradients
}
_FIELDS = (
    "row", "step", "rows", "width", "tensors", "chunks",
    "at",  # the column of the first tensor, if each tensor is one chunk and they stand in order; else -1
    "ends",  # whether this batch is the last of the step
    *_ARRAYS,
)  # fmt: skip


class _RowTable(ctypes.Structure):
    """What the loop works on, of one batch: one 64-bit integer for each field."""

    _fields_ = tuple((name, ctypes.c_int64) for name in _FIELDS)


_COMBINE = """\
        for k in range({begin}, {end}):
            for tensor in range(tensors):
                value = 0.0
                if stepped[tensor] != 0:
                    for chunk in range(chunk_of[tensor], chunk_of[tensor + 1]):
                        here = watch[k, chunk]
                        value = {combined}
                last[k, column_of[tensor]] = value
"""


def _larger(a: str, b: str) -> str:
    """The larger of two numbers; NaN if one of them is."""
    return f"{a} if {a} >= {b} else ({a} if {a} != {a} else {b})"


def _named(place: int, name: str) -> str:
    """The line that gives a field its name."""
    if name in _ARRAYS:
        kind, shape = _ARRAYS[name]
        return f"    {name} = carray(at_{kind}(table[{place}]), {shape})"
    return f"    {name} = table[{place}]"


_NAMES = "\n".join(_named(place, name) for place, name in enumerate(_FIELDS))
# From chunks to tensors, in the columns of the record; and after the last batch, as vector code, from there to the row.
_SOURCE = f"""\
def kernel(task):
    table = carray(at_int64(task), {len(_FIELDS)})
{_NAMES}
    for tensor in range(tensors):
        last[{_STEPS}, column_of[tensor]] = 1.0 if stepped[tensor] != 0 else 0.0
    if at >= 0:
        for k in range({len(CHUNK_STATISTICS)}):
            for i in range(tensors):
                here = watch[k, i]
                last[k, at + i] = here if stepped[i] != 0 else 0.0
    else:
{_COMBINE.format(begin=0, end=_SQUARES, combined="value + here")}\
{_COMBINE.format(begin=_MAXIMA[0], end=_MAXIMA[-1] + 1, combined=_larger("value", "here"))}\
{_COMBINE.format(begin=_NONFINITE, end=_NONFINITE + 1, combined="value + here")}\
    if ends == 0:
        return
    for k in range({_SQUARES}):
        for i in range(width):
            total = last[k, i]
            counts = isfinite(total) and (k == 0 or looked[i] != 0)
            sums[row, k, i] = sums[row, k, i] + (total if counts else 0.0)
            counted = sums[row, k + {_SQUARES}, i]
            sums[row, k + {_SQUARES}, i] = counted + (last[{_STEPS}, i] if counts else 0.0)
    for k in range({len(_MAXIMA)}):
        for i in range(width):
            kept, top = maxima[row, k, i], last[k + {_MAXIMA[0]}, i] if looked[i] != 0 else 0.0
            maxima[row, k, i] = {_larger("kept", "top")}
    for i in range(width):
        bad = last[{_NONFINITE}, i]
        sums[row, {2 * _SQUARES}, i] = sums[row, {2 * _SQUARES}, i] + bad
        sums[row, {2 * _SQUARES + 1}, i] = sums[row, {2 * _SQUARES + 1}, i] + last[{_STEPS}, i]
        now = step if bad > 0.0 else {_NEVER}
        first[i] = now if now < first[i] else first[i]
"""


class RecordRows:
    """The loop over the figures of some batches.

    Args:
        batches: what has stepped, each with statistics ``by_chunks``.
        columns: where each parameter stands in the record, by its id.

    Attributes:
        tables, last: those of the record, as :meth:`into` was given them.
    """

    def __init__(self, batches: Sequence[Batch], columns: Mapping[int, int]) -> None:
        self._loop = compile_kernel(_SOURCE).with_gil
        self.tables: Mapping[str, Tensor] | None = None
        self.last: Tensor | None = None
        self._batches = [_OfBatch(batch, columns) for batch in batches]
        self._end = self._batches[-1].table
        self._end.ends = 1
        self.width = max(columns.values()) + 1  # those that are not stepped stand in the record, too
        self.large = any(each.batch.may_be_brief for each in self._batches)
        self.brief = False

    def look(self, in_full: bool) -> None:
        """Whether steps from here on are looked at in full; else only the gradients of large batches are."""
        for each in self._batches:
            each.batch.look(in_full)
        self.brief = any(each.batch.brief for each in self._batches)

    def into(self, tables: Mapping[str, Tensor], last: Tensor) -> None:
        """Add to these from here.

        Args:
            tables: ``sums`` of shape (rows, 2 * squares + 2, width) has the sums of squares, of how many steps each of them is,
                and the two counts; ``maxima`` of shape (rows, maxima, width) the largest magnitudes; ``first`` of shape (width,)
                the first step in which a gradient was not finite. float64 and int64, on the host.
            last: shape (len(STATISTICS), width): the figures of the last step.
        """
        self.tables, self.last = tables, last
        for batch in self._batches:
            one = batch.table
            one.rows, one.width = len(tables["sums"]), tables["sums"].shape[2]
            one.sums, one.maxima, one.first = (tables[name].data_ptr() for name in ("sums", "maxima", "first"))
            one.last = last.data_ptr()
        self._looked = np.ones(last.shape[1], dtype=np.int64)
        self._end.looked = self._looked.ctypes.data
        self._look_at = True

    def add(self, row: int, step: int, in_full: bool = True) -> None:
        """Add the step of that number, which the batches have made, to a row: all of it, or of large batches the gradients only."""
        self._end.row, self._end.step = row, step
        if in_full is not self._look_at:
            self._look_at = in_full
            for batch in self._batches:
                batch.look_at(self._looked, in_full)
        for batch in self._batches:
            if not (batch.all_stepped and batch.batch.active is None):
                batch.mark()
            self._loop(batch.at)


class _OfBatch:
    """One batch: its table, and what that has addresses of."""

    def __init__(self, batch: Batch, columns: Mapping[int, int]) -> None:
        chunks = batch.by_chunks
        assert chunks is not None, "a record's rows are made of chunks"
        self.batch, self._chunks = batch, chunks
        self._columns = np.array([columns[id(p)] for p in batch.params], dtype=np.int64)
        self._stepped = np.ones(len(batch.params), dtype=np.int64)
        self.all_stepped = True
        first = int(self._columns[0])
        one_each = bool((np.diff(chunks.first) == 1).all())
        in_order = one_each and (self._columns == np.arange(first, first + len(self._columns))).all()
        self.table = _RowTable(
            tensors=len(batch.params),
            at=first if in_order else -1,
            column_of=self._columns.ctypes.data,
            stepped=self._stepped.ctypes.data,
            watch=chunks.values.ctypes.data,
            chunks=chunks.values.shape[1],
            chunk_of=chunks.first.ctypes.data,
        )
        self.at = ctypes.addressof(self.table)

    def look_at(self, looked: np.ndarray, in_full: bool) -> None:
        """Note whose figures there are, by column."""
        looked[self._columns] = in_full or not self.batch.may_be_brief

    def mark(self) -> None:
        """Note who is stepped: who has a gradient."""
        self._stepped[:] = 1 if self.batch.active is None else self.batch.active
        self.all_stepped = self.batch.active is None
