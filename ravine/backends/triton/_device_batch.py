"""A batch of tensors on a GPU that one launch steps: tables of addresses, numbers and sums that stay on the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine._compat.torch import is_zero_tensor
from ravine.backends import STATISTICS, Numbers, Staged, States, statistic, to_device
from ravine.backends._layout import real_dtype
from ravine.backends.triton._chunk_tables import Tables, current_stream, span_for
from ravine.backends.triton._native_gather import native_gather
from ravine.backends.triton._pass_text import (
    CHUNK_STATISTICS,
    STAGE_WIDTH,
    blocks_for,
    pass_source,
    stage_source,
    sum_source,
)
from ravine.backends.triton._text_compiler import Kernel, Launch, kernel
from ravine.errors import BackendError
from ravine.formula import Program

_TOPS = statistic(reduce="max")
#: With more chunks than this their figures are added up in every step: 200 KB of them are kept for each step before.
_MANY_CHUNKS = 4096
#: How many launches are kept ready: some of each step whose statistics are kept.
_LAUNCHES = 1024
_grad, _dtype = attrgetter("grad"), attrgetter("dtype")


class DeviceBatch:
    """A batch that runs on Triton's kernels; see ``ravine.backends.Batch``.

    All tensors have what ``why_no_kernel`` asks for and are on one device, all of one buffer have the same dtype, and the states
    of a parameter its strides. The statistics of ``buffer_size`` steps are kept; of none, the kernel does not make them.
    """

    makes_numbers = in_graphs = True

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
        self._device = self.params[0].device
        self.on_device: torch.device | None = self._device
        self._grad_dtype, self._watched = grad_dtype, buffer_size > 0
        kinds = {"param": params[0], **{name: states[0][name] for name in program.states}}
        self._dtypes = {name: real_dtype(t.dtype) for name, t in kinds.items()} | {"grad": real_dtype(grad_dtype)}
        self._kept = [s[name] for name in program.states for s in states]
        self._remember()

        sizes = [p.numel() * (2 if p.is_complex() else 1) for p in params]
        self._wide_waves = torch.version.hip is not None and self._device.type != "cpu"
        self._span = span_for(sum(sizes), blocks_for(self._dtypes, 0, self._wide_waves).size)
        rows = [self._at[: len(params)], [0] * len(params)]
        rows += np.array(self._at[len(params) :], dtype=np.int64).reshape(len(program.states), len(params)).tolist()
        n = len(self.params)
        with torch.inference_mode(False), torch.no_grad():
            addresses = np.array(rows, dtype=np.int64)
            self._tables = Tables(sizes, addresses, self._span, self._device)
            chunks = self._tables.chunks
            self._numbers = self._zeros(max(1, *(len(p.numbers) for p in program.passes)), n)
            self._sums = self._zeros(max(len(p.reductions) for p in program.passes) or 1, chunks)
            # The last place is that of steps whose statistics nobody asks for. Where there are many chunks, only one
            # step's figures of them are kept, and added up at once: a launch is nothing there, and memory is not.
            slots = (buffer_size if self._watched else 0) + 1
            self._at_once = self._watched and chunks > _MANY_CHUNKS
            self._figures = self._zeros(1 if self._at_once else slots, len(CHUNK_STATISTICS), chunks)
            self._combined = self._zeros(slots if self._at_once else 0, len(STATISTICS), n)
            self._stepped = self._zeros(slots, n)
            self._no_skip = torch.zeros(1, dtype=torch.uint8, device=self._device)
        self._totals = [self._zeros(len(p.reductions), n) for p in program.passes]
        self._native = native_gather(params, [[s[m] for m in program.states] for s in states], addresses, grad_dtype)
        self._kernels: dict[tuple[int, int], Kernel] = {}
        self._stages: dict[tuple[Any, ...], Kernel] = {}
        self._launches: dict[tuple[Any, ...], Launch] = {}
        self._forgotten = 0  # what the tables had forgotten when these launches were made
        figures = self._figures.expand(slots, -1, -1).unbind()
        self._slots = list(zip(figures, self._stepped.unbind(), strict=True))
        self._last: Numbers | Staged = ()
        self._copies: list[Tensor] = []
        try:
            for index in range(len(program.passes)):
                self._kernel(index, 0)
        except Exception as error:  # no C compiler, a new GPU: known before anything is written
            first = str(error).strip().partition("\n")[0]
            raise BackendError(
                f"Triton cannot compile a kernel for {self._device}: {type(error).__name__}: {first}"
            ) from error

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self._device)

    # --- gathering --------------------------------------------------------------------------------------------

    def _remember(self) -> None:
        """What must be as it is when a step gathers."""
        params, n = self.params, len(self.params)
        self._types, self._numels = [Tensor] * n, list(map(Tensor.numel, params))
        self._at = [t.data_ptr() for t in (*params, *self._kept)]
        self._grad_dtypes = [self._grad_dtype] * n
        self._devices = [self._device.index if self._device.type == "cuda" else -1] * n
        self._contiguous = all(map(Tensor.is_contiguous, params))
        self._strides = list(map(Tensor.stride, params))
        self._layouts = [(p.shape, p.dtype, p.device) for p in params]
        # A lazily negated real tensor is the imaginary part of a conjugate; with one element it counts as contiguous.
        self._single = [i for i, size in enumerate(self._numels) if size == 1]
        self._plain = not params[0].is_complex()

    def _laid_out(self, tensors: Sequence[Tensor]) -> bool:
        if self._contiguous:
            return all(map(Tensor.is_contiguous, tensors))
        return list(map(Tensor.stride, tensors)) == self._strides

    def gather(self) -> bool:
        if self._native is not None:
            found = self._native()
            if found >= 0 and not (self._single and self._negated()):
                if found & 1 and self._misplaced():
                    return False
                self.active = self._tables.grads != 0 if found > 1 else None
                return True
        grads = list(map(_grad, self.params))
        if not self._stays():
            return False
        if self._as_ever(grads):
            addresses = list(map(Tensor.data_ptr, grads))
            if 0 not in addresses:  # no memory: without elements, or zeros that nobody wrote down
                self._tables.grads[:] = addresses
                self.active = None
                return not self._misplaced()
        return self._gather_each(grads)

    def _misplaced(self) -> bool:
        """Whether a gradient begins in the middle of an element, which the next plan says by name."""
        return bool((self._tables.grads % self._dtypes["grad"].itemsize).any())

    def _negated(self) -> bool:
        grads = [self.params[i].grad for i in self._single]
        return any(g is not None and g.is_neg() for g in grads)

    # Each of these asks all tensors for one thing without a line of Python for each: some 40 ns, not 400.

    def _stays(self) -> bool:
        """Whether parameters and states are as they were."""
        params = self.params
        return (
            list(map(Tensor.data_ptr, (*params, *self._kept))) == self._at
            and list(map(Tensor.numel, params)) == self._numels
            and self._laid_out(params)
        )

    def _as_ever(self, grads: Sequence[Any]) -> bool:
        """Whether every gradient is one that a kernel reads as it is."""
        return (
            self._plain
            and list(map(type, grads)) == self._types
            and list(map(_dtype, grads)) == self._grad_dtypes
            and list(map(Tensor.get_device, grads)) == self._devices
            and list(map(Tensor.numel, grads)) == self._numels
            and self._laid_out(grads)
            and not any(grads[i].is_neg() for i in self._single)
        )

    def _gather_each(self, grads: list[Tensor | None]) -> bool:
        """Any gradient may be missing, strided otherwise, or lazily conjugated."""
        addresses = []
        self._copies = []
        for p, g, layout in zip(self.params, grads, self._layouts, strict=True):
            if (p.shape, p.dtype, p.device) != layout:
                return False
            if g is None:
                addresses.append(0)
                continue
            same = g.dtype == self._grad_dtype and g.shape == p.shape and g.device == p.device
            if not same or g.layout is not torch.strided or type(g) is not Tensor:
                return False
            if is_zero_tensor(g) or g.is_conj() or g.is_neg() or (g.stride() != p.stride() and g.numel() > 1):
                # preserve_format gives the parameter's strides, in the gradient's dtype
                g = torch.empty_like(p, dtype=g.dtype, requires_grad=False).copy_(g.detach())
                self._copies.append(g)
            # One without elements is there, and has no chunk that would read it.
            addresses.append(g.data_ptr() or _ANYWHERE)
        missing = [g is None for g in grads]
        self._tables.grads[:] = addresses
        self.active = ~np.array(missing) if any(missing) else None
        return not self._misplaced()

    def release(self) -> None:
        self._copies = []

    # --- running ----------------------------------------------------------------------------------------------

    def _kernel(self, index: int, loose: int) -> Kernel:
        """That of a pass; printed and compiled once."""
        made = self._kernels.get((index, loose))
        if made is None:
            blocks = blocks_for(self._dtypes, loose, self._wide_waves)
            text = pass_source(self.program, index, self._dtypes, self._watched, blocks)
            made = self._kernels[index, loose] = kernel(text, self._device)
        return made

    def _stage_kernel(self, index: int, there: tuple[bool, ...], counts: torch.dtype) -> Kernel:
        """That of a pass's number stage."""
        made = self._stages.get((index, there, counts))
        if made is None:
            text = stage_source(self.program, index, there, counts)
            made = self._stages[index, there, counts] = kernel(text, self._device)
        return made

    def _stage(
        self, index: int, numbers: Numbers | Staged, address: Tensor, skip: Tensor, stepped: Tensor, key: Any
    ) -> None:
        """Bring the numbers of a pass into their table; those of the last pass also raise the counts."""
        if not isinstance(numbers, Staged):
            self._write_down(index, numbers, skip, stepped)
            return
        if index + 1 < len(self.program.passes) and not self.program.passes[index].numbers:
            return
        counts, hypers, sums = numbers
        if self._device.type == "cpu":  # the interpreter makes float32 of a number
            hypers = tuple([torch.as_tensor(h, dtype=torch.float64) for h in hypers])
        there = tuple([isinstance(h, Tensor) for h in hypers])
        launch = self._launches.get(key := (index, there, counts.data_ptr(), key))
        if launch is None:
            made = self._stage_kernel(index, there, counts.dtype)
            n = len(self.params)
            grid = -(-n // STAGE_WIDTH), 1, 1
            launch = made.bind(grid, counts, address, skip, self._numbers, stepped, n)
            if key[-1] is not None:
                self._keep(key, launch)
        launch(current_stream(self._device), *hypers, *sums)

    @torch.no_grad()
    def _write_down(self, index: int, numbers: Numbers, skip: Tensor, stepped: Tensor) -> None:
        """Numbers that somebody else has made: on the host, or for tensors that are split over processes."""
        for row, value in enumerate(numbers):
            if isinstance(value, Tensor):
                self._numbers[row].copy_(value)
            elif isinstance(value, np.ndarray) and value.ndim:
                self._numbers[row].copy_(to_device(torch.from_numpy(np.asarray(value, dtype=np.float64)), self._device))
            else:
                self._numbers[row].fill_(float(value))
        if index == len(self.program.passes) - 1:
            stepped.fill_(1.0) if self.active is None else stepped.copy_(
                to_device(torch.from_numpy(self.active * 1.0), self._device)
            )
            if skip is not self._no_skip:
                stepped.mul_(skip.reshape(()) == 0)

    def _bound(self, index: int, address: Tensor, figures: Tensor, skip: Tensor, key: Any) -> list[Launch]:
        """The launches of a pass; those with a key are kept."""
        tables, n = self._tables, len(self.params)
        launches = []
        for group in tables.launches:
            launch = self._launches.get(mine := (index, group, key))
            if launch is None:
                launch = self._kernel(index, group.loose).bind(
                    (group.count, 1, 1),
                    *(group.place, tables.first_chunk, tables.size, address, self._numbers, figures, skip),
                    *(n, tables.chunks, self._span),
                )
                if key is not None:
                    self._keep(mine, launch)
            launches.append(launch)
        return launches

    def _keep(self, key: tuple[Any, ...], launch: Launch) -> None:
        """Keep a launch ready; all are let go of when there are too many, or the tables let go of their chunks."""
        if len(self._launches) >= _LAUNCHES or self._forgotten != self._tables.forgotten:
            self._launches.clear()
            self._forgotten = self._tables.forgotten
        self._launches[key] = launch

    def _add_up(self, figures: Tensor, to: Tensor, slots: int, rows: int, tops: Sequence[int] = ()) -> None:
        """The figures of tensors from those of their chunks."""
        kernel(sum_source(rows, tuple(tops)), self._device).bind(
            (len(self.params), slots, 1),
            *(figures, self._tables.first_chunk, to, self._tables.chunks, len(self.params)),
            *(figures.shape[-2], to.shape[-2]),
        )(current_stream(self._device))

    def reduce(self, index: int, numbers: Numbers | Staged) -> Tensor:
        recorded = backends.recording(self._device)
        key = None if recorded else "sums"  # nothing of a graph's launches is kept
        with _on(self._device):
            address = self._tables.take(recorded)
            launches = self._bound(index, address, self._sums, self._no_skip, key)
            self._stage(index, numbers, address, self._no_skip, self._stepped[-1], key)
            for launch in launches:
                launch(current_stream(self._device))
            result = self._totals[index]
            tops = [i for i, r in enumerate(self.program.passes[index].reductions) if r.kind == "top"]
            self._add_up(self._sums, result, 1, len(result), tops)
        return result

    def call(self, index: int, numbers: Numbers | Staged) -> None:
        raise AssertionError("formulas with functions of whole tensors are stepped by torch's operations (prepare.py)")

    def write(self, numbers: Numbers | Staged | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        numbers = self._last = self._last if numbers is None else numbers
        recorded = backends.recording(self._device)
        slot = buffer_index if self._watched and not recorded else -1
        figures, stepped = self._slots[slot]
        mask = self._no_skip if skip is None else skip.detach().reshape(1).view(torch.uint8)
        key = None if recorded or skip is not None else slot
        index = len(self.program.passes) - 1
        with _on(self._device):
            address = self._tables.take(recorded)
            # What has to be compiled is compiled before anything is written.
            launches = self._bound(index, address, figures, mask, key)
            self._stage(index, numbers, address, mask, stepped, key)
            for launch in launches:
                launch(current_stream(self._device))
            if self._at_once and slot >= 0:
                self._add_up(figures, self._combined[slot], 1, len(CHUNK_STATISTICS), _TOPS)
        active = self.active
        written = self.params if active is None else [p for p, a in zip(self.params, active, strict=True) if a]
        # What autograd saved of these tensors is no longer true; this lets it say so in backward.
        torch.autograd.graph.increment_version(written)
        self.release()

    @torch.no_grad()
    def statistics(self, steps: int) -> Tensor:
        with torch.inference_mode(False), _on(self._device):
            result = self._combined[:steps] if self._at_once else self._zeros(steps, len(STATISTICS), len(self.params))
            if steps and not self._at_once:
                self._add_up(self._figures, result, steps, len(CHUNK_STATISTICS), _TOPS)
            result[:, len(CHUNK_STATISTICS)] = self._stepped[:steps]
        return result


#: An address for a gradient without elements.
_ANYWHERE = 16


@cache
def _many_devices() -> bool:
    return torch.cuda.device_count() > 1


class _on:
    """On this device: Triton launches on the current one."""

    def __init__(self, device: torch.device) -> None:
        other = device.type == "cuda" and _many_devices() and torch.cuda.current_device() != device.index
        self._device = torch.cuda.device(device) if other else None

    def __enter__(self) -> None:
        if self._device is not None:
            self._device.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self._device is not None:
            self._device.__exit__(*error)
