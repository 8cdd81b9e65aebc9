"""A batch of tensors on a GPU that one launch steps: tables of addresses, numbers and sums that stay on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine.backends import STATISTICS, Numbers, Staged, States, compute_dtype, statistic, to_device
from ravine.backends._brief import BriefSteps, Looks
from ravine.backends._layout import real_dtype
from ravine.backends.triton._chunk_tables import ChunkGroup, Tables, current_stream, span_for
from ravine.backends.triton._device_gather import DeviceGather
from ravine.backends.triton._host_numbers import HostNumbers
from ravine.backends.triton._kernel_text import CHUNK_STATISTICS, address_rows
from ravine.backends.triton._pass_text import Watched, blocks_for, pass_source
from ravine.backends.triton._stage_text import STAGE_WIDTH, stage_source, sum_source
from ravine.backends.triton._temporaries import Temporaries
from ravine.backends.triton._text_compiler import Kernel, Launch, kernel
from ravine.errors import BackendError
from ravine.formula import Program

_TOPS = statistic(reduce="max")
#: The figures of chunks that a brief look has.
_OF_GRADIENTS = statistic("grad_square", "nonfinite")
#: With more chunks than this their figures are added up in every step: 200 KB of them are kept for each step before.
_MANY_CHUNKS = 4096
#: How many launches are kept ready: some of each step whose statistics are kept.
_LAUNCHES = 1024


class _StepBefore(NamedTuple):
    """What an earlier step launched: one that is given the same numbers, at the same addresses, launches the same.

    Attributes:
        numbers: what it was given.
        groups: the chunks of each launch.
        stage, given: the launch of the number stage, and its arguments after the stream.
        launches: those after it.
    """

    numbers: Any
    groups: list[ChunkGroup]
    stage: Launch
    given: tuple[Any, ...]
    launches: list[Launch]


class DeviceBatch(Looks):
    """A batch that runs on Triton's kernels; see ``ravine.backends.Batch``.

    All tensors have what ``why_no_kernel`` asks for and are on one device, all of one buffer have the same dtype, and the states
    of a parameter its strides. The statistics of ``buffer_size`` steps are kept; of none, the kernel does not make them.
    """

    makes_numbers = in_graphs = True
    takes_host_numbers = False
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
        self._recorded = False  # whether a CUDA graph captures this step
        self._device = self.params[0].device
        self.on_device: torch.device | None = self._device
        self._watched = buffer_size > 0
        kinds = {"param": params[0], **{name: states[0][name] for name in program.states}}
        self._dtypes = {name: real_dtype(t.dtype) for name, t in kinds.items()} | {"grad": real_dtype(grad_dtype)}
        self._real = compute_dtype(list(self._dtypes.values()))
        self._dtypes |= dict.fromkeys(program.temporaries, self._real)
        self._wide_waves = torch.version.hip is not None and self._device.type != "cpu"
        self._prepare()
        rows = address_rows(program)
        kept = [[s[name] for name in list(rows)[2:]] for s in states]
        others = [s[name] for s in states for name in program.states if name not in rows]
        self._gather = DeviceGather(params, kept, others, grad_dtype)

        self._sizes = [p.numel() * (2 if p.is_complex() else 1) for p in params]
        n = len(self.params)
        with torch.inference_mode(False), torch.no_grad():
            self._tables = self._cut()
            chunks = self._tables.chunks
            self._temporaries = Temporaries(program, params, states, self._real)
            self._numbers = self._zeros(max(1, *(len(p.numbers) for p in program.passes)), n)
            self._sums = self._zeros(max(len(p.reductions) for p in program.passes) or 1, chunks)
            # The last place is that of steps whose statistics nobody asks for. Where there are many chunks, only one
            # step's figures of them are kept, and added up at once: a launch is nothing there, and memory is not.
            steps = (buffer_size if self._watched else 0) + 1
            self._at_once = self._watched and chunks > _MANY_CHUNKS
            self._figures = self._zeros(1 if self._at_once else steps, len(CHUNK_STATISTICS), chunks)
            self._combined = self._zeros(steps if self._at_once else 0, len(STATISTICS), n)
            self._stepped = self._zeros(steps, n)
            self._no_skip = torch.zeros(1, dtype=torch.uint8, device=self._device)
        self._totals = [self._zeros(len(p.reductions), n) for p in program.passes]
        self._in_brief = BriefSteps(steps)
        self._large = self._is_large(program, params, self._watched)
        self._kernels: dict[tuple[int, int, Watched], Kernel] = {}
        self._stages: dict[tuple[Any, ...], Kernel] = {}
        self._launches: dict[tuple[Any, ...], Launch] = {}
        self._steps_before: dict[Any, _StepBefore] = {}  # by their places in the buffer
        self._forgotten = 0  # what the tables had forgotten when these launches were made
        figures = self._figures.expand(steps, -1, -1).unbind()
        self._buffer = list(zip(figures, self._stepped.unbind(), strict=True))
        self._last: Numbers | Staged = ()
        self._host = HostNumbers(program)
        try:
            self._compile()
        except Exception as error:  # no C compiler, a new GPU: known before anything is written
            raise BackendError(_cannot(error, self._device)) from error

    # What another kind of kernel does otherwise (``_tile_batch.py``).

    def _written(self, stepped: Tensor, all_are: bool) -> None:
        """After the last pass, which gave each tensor a 1 or 0 in ``stepped``."""

    def _prepare(self) -> None:
        """Make what tensors are seen as."""

    def _cut(self) -> Tables:
        """The tables of the tensors cut into chunks."""
        narrow = min(d.itemsize for d in self._dtypes.values()) <= 2
        self._span = span_for(sum(self._sizes), narrow, blocks_for(self._dtypes, 0, self._wide_waves).size)
        sizes = np.array(self._sizes, dtype=np.int64)
        return Tables(sizes, -(-sizes // self._span), self._gather.addresses, self._device)

    def look(self, in_full: bool) -> None:
        was_brief = self.brief
        super().look(in_full)
        if self.brief and not was_brief:
            last = len(self.program.passes) - 1
            try:
                for index, loose, _ in list(self._kernels):
                    if index == last:
                        self._kernel(index, loose, Watched.GRADIENTS)
            except Exception:  # a run that has come so far goes on as it was, and does not try in every step
                self._large = self.brief = False

    def _compile(self) -> None:
        """Compile the kernels that every step needs."""
        for index, one in enumerate(self.program.passes):
            if one.results:
                self._kernel(index, 0, self._looked_at())

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self._device)

    def gather(self) -> bool:
        looked = self._gather.look()
        self.active = self._gather.active
        self._recorded = backends.recording(self._device)
        return looked

    def release(self) -> None:
        self._gather.release()
        self._temporaries.release()

    # --- running ----------------------------------------------------------------------------------------------

    def _looked_at(self) -> Watched:
        """What the last pass looks at."""
        if not self._watched:
            return Watched.NOTHING
        return Watched.GRADIENTS if self.brief else Watched.EVERYTHING

    def _kernel(self, index: int, loose: int, watch: Watched) -> Kernel:
        """That of a pass; printed and compiled once."""
        made = self._kernels.get((index, loose, watch))
        if made is None:
            blocks = blocks_for(self._dtypes, loose, self._wide_waves)
            text = pass_source(self.program, index, self._dtypes, watch, blocks)
            made = self._kernels[index, loose, watch] = kernel(text, self._device)
        return made

    def _needed_later(self, make: Callable[..., Kernel], *about: Any) -> Kernel:
        """A kernel that the steps before may not have needed.

        Raises:
            BackendError: it cannot be compiled; this step has written nothing.
        """
        try:
            return make(*about)
        except Exception as error:
            raise BackendError(
                f"{_cannot(error, self._device)}. Nothing was written. It is for tensors that begin elsewhere than those of the steps "
                "before; group['fused'] = False in optimizer.param_groups steps them with torch's operations"
            ) from error

    def _stage_kernel(self, index: int, there: tuple[bool, ...], counts: torch.dtype) -> Kernel:
        """That of a pass's number stage."""
        made = self._stages.get((index, there, counts))
        if made is None:
            text = stage_source(self.program, index, there, counts)
            made = self._stages[index, there, counts] = kernel(text, self._device)
        return made

    def _stage(
        self, index: int, numbers: Numbers | Staged, address: Tensor, skip: Tensor, stepped: Tensor, key: Any
    ) -> tuple[Launch, tuple[Any, ...]] | None:
        """Bring the numbers of a pass into their table; those of the last pass also raise the counts.

        Returns what was launched for that, and what it was given.
        """
        if not isinstance(numbers, Staged):
            self._write_down(index, numbers, skip, stepped)
            return None
        if index + 1 < len(self.program.passes) and not self.program.passes[index].numbers:
            return None
        counts, hypers, sums, _, kept, _ = numbers
        if self._device.type == "cpu":  # the interpreter makes float32 of a number
            hypers = tuple([torch.as_tensor(h, dtype=torch.float64) for h in hypers])
        there = tuple([isinstance(h, Tensor) for h in hypers])
        launch = self._launches.get(key := (index, there, counts.data_ptr(), key))
        if launch is None:
            made = self._stage_kernel(index, there, counts.dtype)
            n = len(self.params)
            grid = -(-n // STAGE_WIDTH), 1, 1
            launch = made.bind(grid, counts, address, skip, self._numbers, stepped, n, *kept)
            if key[-1] is not None:
                self._keep(key, launch)
        launch(current_stream(self._device), *hypers, *sums)
        return launch, (*hypers, *sums)

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
        """The launches of a pass, which are called with the stream and the memory of temporaries; those with a key are kept."""
        tables, n = self._tables, len(self.params)
        launches = []
        for group in tables.launches:
            launch = self._launches.get(mine := (index, group, key))
            if launch is None:
                launch = self._needed_later(self._kernel, index, group.kind, self._looked_at()).bind(
                    (group.count, 1, 1),
                    *(group.place, tables.first_chunk, tables.size, address, self._numbers, figures, skip),
                    *(n, tables.chunks, self._span, *self._temporaries.offset),
                )
                if key is not None:
                    self._keep(mine, launch)
            launches.append(launch)
        return launches

    def _keep(self, key: tuple[Any, ...], launch: Launch) -> None:
        """Keep a launch ready; all are let go of when there are too many, or the tables let go of their chunks."""
        if len(self._launches) >= _LAUNCHES or self._forgotten != self._tables.forgotten:
            self._launches.clear()
            self._steps_before.clear()
            self._forgotten = self._tables.forgotten
        self._launches[key] = launch

    def _add_up(self, figures: Tensor, to: Tensor, steps: int, rows: int, maxima: Sequence[int] = ()) -> None:
        """The figures of tensors from those of their chunks."""
        kernel(sum_source(rows, tuple(maxima)), self._device).bind(
            (len(self.params), steps, 1),
            *(figures, self._tables.first_chunk, to, self._tables.chunks, len(self.params)),
            *(figures.shape[-2], to.shape[-2]),
        )(current_stream(self._device))

    def _add_up_now(self, figures: Tensor, to: Tensor) -> None:
        """The figures of a step, of which there are many: no more than it has."""
        if not self.brief:
            self._add_up(figures, to, 1, len(CHUNK_STATISTICS), _TOPS)
            return
        for row in _OF_GRADIENTS:
            self._add_up(figures[row:], to[row:], 1, 1)

    def _run(
        self, index: int, numbers: Numbers | Staged, figures: Tensor, skip: Tensor, stepped: Tensor, key: Any
    ) -> None:
        """A pass; ``key`` names it among those whose launches are kept."""
        key = None if self._recorded else key  # nothing of a graph's launches is kept
        address = self._address = self._tables.take(self._recorded)
        stream = current_stream(self._device)
        before = self._steps_before.get(key) if key is not None else None
        if before is not None and before.numbers is numbers and before.groups is self._tables.launches:
            before.stage(stream, *before.given)
            launches = before.launches
        else:
            # What has to be compiled is compiled before anything is written.
            launches = self._bound(index, address, figures, skip, key) if self.program.passes[index].results else []
            staged = self._stage(index, numbers, address, skip, stepped, key)
            if staged and key is not None:
                self._steps_before[key] = _StepBefore(numbers, self._tables.launches, *staged, launches)
        memory = self._temporaries.addresses(index)
        for launch in launches:
            launch(stream, *memory)

    def reduce(self, index: int, numbers: Numbers | Staged) -> Tensor:
        result = self._totals[index]
        with on_device(self._device):
            self._temporaries.make(index)
            self._run(index, numbers, self._sums, self._no_skip, self._stepped[-1], "sums")
            if len(result):
                maxima = [i for i, r in enumerate(self.program.passes[index].reductions) if r.kind == "amax"]
                self._add_up(self._sums, result, 1, len(result), maxima)
        return result

    def call(self, index: int, numbers: Numbers | Staged, bad: Tensor | None = None) -> None:
        p = self.program.passes[index]
        with on_device(self._device):
            if not p.results and p.numbers:  # no kernel ran that needed them
                self._run(index, numbers, self._sums, self._no_skip, self._stepped[-1], "sums")
            active = range(len(self.params)) if self.active is None else np.flatnonzero(self.active).tolist()
            self._temporaries.call(index, active, self._given(index, numbers), bad)

    def _given(self, index: int, numbers: Numbers | Staged) -> list[Any]:
        """The numbers of a pass as functions of whole tensors are given them: those that all tensors share as one object."""
        if not isinstance(numbers, Staged):
            return list(numbers)
        hypers = dict(zip(self.program.hypers, numbers.hypers, strict=True))
        on_host = self._host.of_pass(index, numbers)
        given: list[Any] = []
        for i, (symbol, row) in enumerate(zip(self.program.passes[index].numbers, self._numbers, strict=False)):
            if symbol.op == "number" and symbol.name in hypers:
                given.append(hypers[symbol.name])
            elif i in on_host:  # a function that decides by it does not wait
                given.append(on_host[i])
            else:
                given.append(row[0] if self._host.shared(index, i, numbers.together) else row)
        return given

    def write(self, numbers: Numbers | Staged | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        numbers = self._last = self._last if numbers is None else numbers
        index = buffer_index if self._watched and not self._recorded else -1
        figures, stepped = self._buffer[index]
        mask = self._no_skip if skip is None else skip.detach().reshape(1).view(torch.uint8)
        with on_device(self._device):
            key = None if skip is not None else (index, self.brief)
            self._run(len(self.program.passes) - 1, numbers, figures, mask, stepped, key)
            self._in_brief.note(index, self.brief)
            if self._at_once and index >= 0:
                self._add_up_now(figures, self._combined[index])
            self._temporaries.write(skip)
            self._written(stepped, skip is None and self.active is None)
        self._host.written(numbers, skip is None and self.active is None and not self._recorded)
        active = self.active
        written = self.params if active is None else [p for p, a in zip(self.params, active, strict=True) if a]
        # What autograd saved of these tensors is no longer true; this lets it say so in backward.
        torch.autograd.graph.increment_version(written)
        self.release()

    @torch.no_grad()
    def statistics(self, steps: int) -> Tensor:
        with torch.inference_mode(False), on_device(self._device):
            result = self._combined[:steps] if self._at_once else self._zeros(steps, len(STATISTICS), len(self.params))
            if steps and not self._at_once:
                self._add_up(self._figures, result, steps, len(CHUNK_STATISTICS), _TOPS)
            result[:, len(CHUNK_STATISTICS)] = self._stepped[:steps]
            self._in_brief.mark(result)
        return result


_HERE = nullcontext()


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """On this device: Triton launches on the current one."""
    if device.type != "cuda" or backends.only_device() or torch.cuda.current_device() == device.index:
        return _HERE
    return torch.cuda.device(device)


def _cannot(error: Exception, device: torch.device) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"Triton cannot compile a kernel for {device}: {type(error).__name__}: {first}"
