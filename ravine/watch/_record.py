"""Gathers the figures of steps into at most 256 rows, whatever the length of the run.

Step t belongs to row (t - 1) // every. When the rows are full, neighbours are combined and ``every`` doubles. On a device
torch does all of it, so that nothing waits before somebody reads; on the host a compiled loop adds each step, or NumPy some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine.backends import ROUNDING_STATISTICS, STATISTICS, statistic
from ravine.backends._brief import no_figures, without_figures
from ravine.watch._history import History
from ravine.watch._losses import Losses

if TYPE_CHECKING:
    from ravine.backends.cpu._record_rows import RecordRows

ROWS = 256
#: The most steps of which one is looked at in full, where looking costs time (``backends/_brief.py``).
APART = 16
_SQUARES = [i for i, s in enumerate(STATISTICS) if s.name.endswith("_square")]
_MAXIMA = statistic(reduce="max")
_NONFINITE, _STEPS = statistic("nonfinite", "steps")
_UPDATE_SQUARE, _UPDATE_MAX = statistic("update_square", "update_max")
_N, _M = len(_SQUARES), len(_MAXIMA)
assert [*_SQUARES, *_MAXIMA] == list(range(_N + _M)), "slices are quicker than lists of rows"
_ROUNDING = statistic(*ROUNDING_STATISTICS)
_NOW = {"tops": "maxima"}  # what version 0.1 wrote, and its name now
_NEVER = torch.iinfo(torch.int64).max

#: Makes figures of whole tensors of those of this process's parts.
Join = Callable[[Tensor], Tensor]


class Record:
    """What is known of the steps of one optimizer, by the parameters' places in its groups.

    Attributes:
        steps: how many steps were recorded.
        every: how many steps one row has.
        skipped: how many steps were left out because gradients were not finite.
        overflowed: how many a GradScaler left out.
        looked: the number of the last step that was looked at in full; of large batches not every one is.
        losses: those that a training loop has noted.
    """

    def __init__(self) -> None:
        self.steps, self.every = 0, 1
        self.skipped = self.overflowed = self.looked = 0
        self.losses = Losses()
        self.last: Tensor | None = None  # the figures of the last step, shape (len(STATISTICS), parameters)
        self._tables: dict[str, Tensor] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"looked": state["steps"]} | state)  # version 0.1 looked at all of every step

    def _make(self, width: int, like: Tensor) -> None:
        """Tables for so many parameters; what there is stays."""
        old, self._tables = self._tables, {}
        # Sums of squares, how many steps they are of, and the two counts.
        for name, columns in {"sums": 2 * _N + 2, "maxima": _M}.items():
            self._tables[name] = torch.zeros(ROWS, columns, width, dtype=like.dtype, device=like.device)
        self._tables["first"] = torch.full((width,), _NEVER, dtype=torch.int64, device=like.device)
        for name, table in old.items():
            self._tables[name][..., : table.shape[-1]] = table.to(like.device)

    def add_step(self, rows: RecordRows) -> None:
        """Take the figures of one step from where kernels have left them."""
        if rows.tables is not self._tables or rows.last is not self.last:  # ``add`` makes a new one
            self._open(rows)
        if self.steps == ROWS * self.every:
            self._combine_neighbours()
        if rows.large:
            self._add_sparingly(rows)
        else:
            rows.add(self.steps // self.every, self.steps + 1)
            self.steps += 1
            self.looked = self.steps

    def in_full(self, ahead: int) -> bool:
        """Whether the step that comes so many after those that are recorded is one that is looked at in full."""
        number, every = self.steps + ahead, self.every
        while number >= ROWS * every:
            every *= 2
        return number % min(every, APART) == 0

    def _add_sparingly(self, rows: RecordRows) -> None:
        """The same where looking at all of every step costs time. Every row has a step that is looked at in full.

        Which ones these are depends on nothing but the number of the step: what was looked at without need, because a plan was
        made anew, is not counted.
        """
        in_full = self.in_full(0) and not rows.brief
        rows.add(self.steps // self.every, self.steps + 1, in_full)
        self.steps += 1
        if not rows.brief:
            self.looked = self.steps
        rows.look(self.in_full(0))

    def _open(self, rows: RecordRows) -> None:
        """Let steps be added to the tables, which were made anew or are on a device."""
        with torch.inference_mode(False):
            here = torch.zeros(0, dtype=torch.float64, device="cpu")
            width = max(rows.width, len(self._tables["first"]) if self._tables else 0)
            # The loop writes to addresses: tables that were loaded may be of any kind.
            shapes = {"sums": (ROWS, 2 * _N + 2, width), "maxima": (ROWS, _M, width), "first": (width,)}
            fit = {
                name: (table.shape == shapes.get(name), table.dtype, table.device.type, table.is_contiguous())
                for name, table in self._tables.items()
            }
            fine = (True, here.dtype, "cpu", True)
            if fit != {"sums": fine, "maxima": fine, "first": (True, torch.int64, "cpu", True)}:
                self._make(width, here)
            self.last = torch.zeros(len(STATISTICS), width, dtype=here.dtype, device="cpu")
        rows.into(self._tables, self.last)

    def add(self, figures: Tensor, in_full: int | None = None) -> None:
        """Take the figures of some steps, shape (steps, len(STATISTICS), parameters).

        ``in_full``: the number among them, from 1, of the last that was looked at in full; 0: none was; None: all were.
        """
        if not len(figures):
            return
        if not self._tables or self._tables["first"].shape[0] < figures.shape[2]:
            self._make(figures.shape[2], figures)
        figures = figures.to(self._tables["sums"])
        self.last = self._last_of(figures)
        if in_full != 0:
            self.looked = self.steps + (len(figures) if in_full is None else in_full)
        if backends.on_host(figures.device) and _plain(figures.numpy()):
            for begin, end in self._spans(len(figures)):
                self._put_plain(figures.numpy()[begin:end])
            return
        self._note_first(figures)
        stepped = figures[:, _STEPS]
        square_sums = figures[:, :_N]
        counted = square_sums.isfinite() & (stepped > 0)[:, None]
        counts = figures[:, _NONFINITE:]
        parts = [torch.where(counted, square_sums, 0.0), counted.to(square_sums.dtype), counts]
        sums, maxima = torch.cat(parts, 1), figures[:, _N : _N + _M]
        for begin, end in self._spans(len(figures)):
            self._put(sums[begin:end], maxima[begin:end])

    def _last_of(self, figures: Tensor) -> Tensor:
        """The figures of the last step, with those of an older one where a brief look has none, if there is one."""
        older = no_figures(figures[:1])
        if self.last is not None:
            older[0, :, : self.last.shape[1]] = self.last.to(older)
        number = torch.arange(1, len(figures) + 1, device=figures.device)[:, None]
        nothing = without_figures(figures) | (figures[:, _STEPS] == 0)
        place = torch.where(nothing, 0, number).amax(0)  # of the last that has all figures, behind the older ones
        made = torch.cat([older, figures]).gather(0, place.expand(1, figures.shape[1], -1))[0]
        for row in (0, _NONFINITE, _STEPS):  # those that a brief look has
            made[row] = figures[-1, row]
        return made

    def _spans(self, steps: int) -> Iterator[tuple[int, int]]:
        """Parts of so many steps that end where rows do: sums are then the same however the steps came in."""
        begin = 0
        while begin < steps:
            if self.steps == ROWS * self.every:
                self._combine_neighbours()
            left, begun = steps - begin, self.steps % self.every
            whole = max(1, min(left, ROWS * self.every - self.steps) // self.every)
            n = min(left, self.every - begun) if begun or left < self.every else whole * self.every
            yield begin, begin + n
            begin += n

    def _put_plain(self, figures: np.ndarray) -> None:
        """``_put`` on the host for steps of which all sums count: one pass over what a cache holds."""
        row, n = self.steps // self.every, len(figures)
        rows = max(1, n // self.every)
        each = figures.reshape(rows, n // rows, *figures.shape[1:])
        sums, kept_maxima = (
            self._tables["sums"].numpy()[row : row + rows],
            self._tables["maxima"].numpy()[row : row + rows],
        )
        square_sums = sums[:, :_N]
        # NumPy adds along such an axis one after the other.
        parts = np.concatenate([square_sums[:, None], each[:, :, :_N]], axis=1)
        np.add.reduce(parts, axis=1, out=square_sums)
        sums[:, _N : 2 * _N] += n // rows
        sums[:, -1] += n // rows
        np.maximum(kept_maxima, each[:, :, _N : _N + _M].max(1), out=kept_maxima)
        self.steps += n

    def _put(self, sums: Tensor, maxima: Tensor) -> None:
        """Steps that are part of one row, or that are some whole rows."""
        row, n = self.steps // self.every, len(sums)
        rows = max(1, n // self.every)
        sums, maxima = (x.view(rows, n // rows, *x.shape[1:]) for x in (sums, maxima))
        there, kept_maxima = self._tables["sums"][row : row + rows], self._tables["maxima"][row : row + rows]
        # One after the other, as a sum over a dimension is not.
        there.copy_(torch.cat([there[:, None], sums], 1).cumsum(1)[:, -1])
        kept_maxima.copy_(torch.maximum(kept_maxima, maxima.amax(1)))
        self.steps += n

    def _note_first(self, figures: Tensor) -> None:
        """The first step in which a gradient was not finite, by parameter."""
        bad = figures[:, _NONFINITE] > 0
        first = torch.where(bad.any(0), bad.to(torch.uint8).argmax(0) + self.steps + 1, _NEVER)
        self._tables["first"].copy_(torch.minimum(self._tables["first"], first))  # ``RecordRows`` has its address

    def _combine_neighbours(self) -> None:
        half = ROWS // 2
        for name, table in self._tables.items():
            if name != "first":
                even, odd = table[0::2], table[1::2]
                combined = torch.maximum(even, odd) if name == "maxima" else even + odd
                table[:half] = combined
                table[half:] = 0.0
        self.every *= 2

    # --- reading -------------------------------------------------------------------------------------------------

    def history(self, names: Sequence[str], sizes: Sequence[int], join: Join) -> History:
        """The rows there are."""
        rows = -(-self.steps // self.every)
        if not self._tables:
            return History.empty(names, sizes)
        tables = {name: table[:rows] for name, table in self._tables.items()}
        sums = tables["sums"]
        square_sums, counted, counts = sums.split([_N, _N, 2], 1)
        # In the order of STATISTICS; NaN where no step has a sum.
        whole = torch.cat([square_sums / counted, tables["maxima"], counts], 1)
        figures = self._wide(join(whole), len(names))
        first = np.arange(rows, dtype=np.int64) * self.every + 1
        last = np.minimum(first + self.every - 1, self.steps)
        return History(tuple(names), tuple(sizes), first, last, *columns(figures))

    def latest(self, names: Sequence[str], sizes: Sequence[int], join: Join) -> History:
        """The last step alone."""
        if self.last is None:
            return History.empty(names, sizes)
        figures = self._wide(join(self.last[None].clone()), len(names))
        now = np.array([self.steps], dtype=np.int64)
        return History(tuple(names), tuple(sizes), now, now, *columns(figures))

    @staticmethod
    def _wide(figures: Tensor, width: int) -> np.ndarray:
        """On the host, with columns for parameters that were added since."""
        array = figures.cpu().double().numpy()
        return np.pad(array, ((0, 0), (0, 0), (0, width - array.shape[2])))

    def first_nonfinite(self, names: Sequence[str]) -> dict[str, int]:
        """The first step in which a gradient of this process was not finite, by name."""
        first = self._tables["first"].tolist() if self._tables else []
        return {name: step for name, step in zip(names, first, strict=False) if step != _NEVER}

    # --- keeping -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All of it, as numbers and tensors."""
        return {
            "steps": self.steps,
            "every": self.every,
            "looked": self.looked,
            "skipped": self.skipped,
            "overflowed": self.overflowed,
            "losses": self.losses.state_dict(),
            "last": None if self.last is None else self.last.clone(),
            "tables": {name: table.clone() for name, table in self._tables.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be the record that gave ``state``."""
        self.steps, self.every = state["steps"], state["every"]
        self.looked = state.get("looked", self.steps)
        self.skipped, self.overflowed = state["skipped"], state["overflowed"]
        self.losses.load_state_dict(state.get("losses"))  # version 0.1 has none
        self.last = None if state["last"] is None else _with_rounding(state["last"].clone(), 0, len(STATISTICS))
        self._tables = {_NOW.get(name, name): table.clone() for name, table in state["tables"].items()}
        if "sums" in self._tables:
            self._tables["sums"] = _with_rounding(self._tables["sums"], 1, 2 * _N + 2)


def _with_rounding(table: Tensor, axis: int, wanted: int) -> Tensor:
    """A table with figures of rounding, which those of version 0.1 have not: zeros, in as many steps as there are updates."""
    if table.shape[axis] == wanted:
        return table
    rows = list(table.unbind(axis))
    missing = [torch.zeros_like(rows[0])] * len(_ROUNDING)
    rows[_ROUNDING[0] : _ROUNDING[0]] = missing
    if axis == 1:  # how many steps the sums are of
        behind_updates = _N + _ROUNDING[0]
        rows[behind_updates:behind_updates] = [rows[behind_updates - 1]] * len(_ROUNDING)
    return torch.stack(rows, axis)


def _plain(figures: np.ndarray) -> bool:
    """Whether every parameter was stepped every time, and every sum is finite."""
    if figures[:, _NONFINITE].any() or not figures[:, _STEPS].all():
        return False
    return bool(np.isfinite(figures[:, :_N]).all())


def columns(figures: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays of a History, of figures of shape (rows, len(STATISTICS), parameters)."""
    assert figures.shape[1] == len(STATISTICS)
    stepped = figures[:, _STEPS] > 0
    norms = [np.sqrt(np.where(stepped, figures[:, i], np.nan)) for i in _SQUARES]
    # Where squares are NaN and the largest magnitude is none, nobody looked; where somebody did, it is NaN or infinite, too.
    looked = ~(np.isnan(figures[:, _UPDATE_SQUARE]) & (figures[:, _UPDATE_MAX] <= 0))
    maxima = [np.where(stepped & looked, figures[:, i], np.nan) for i in _MAXIMA]
    counts = [figures[:, i].astype(np.int64) for i in (_NONFINITE, _STEPS)]
    return (*norms, *maxima, *counts)
