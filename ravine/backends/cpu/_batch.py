"""A batch of CPU tensors that one kernel steps in one call.

A table holds the address of every tensor. From step to step only the gradients' addresses are new; that
parameters and states still stand where they stood is looked at in every step, because a kernel writes to addresses,
not to tensors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ravine._compat.torch import is_zero_tensor
from ravine.backends import STATISTICS, ChunkStatistics, Numbers, States, compute_dtype, statistic
from ravine.backends._brief import Looks
from ravine.backends._calls import Calls
from ravine.backends._eight_bits import SCALES, block_size
from ravine.backends._layout import real_dtype, unfit
from ravine.backends.cpu._compiler import compile_kernel, has_float16
from ravine.backends.cpu._gather import gather_loop, sees_signs
from ravine.backends.cpu._kernel import CHUNK, CHUNK_STATISTICS, Launch, coded, kernel_source, supported, table_rows
from ravine.backends.cpu._threads import SEVERAL, Runner, chunks_at_once
from ravine.errors import BackendError
from ravine.formula import Program
from ravine.formula._passes import Reduction

_GRAD = 1  # the row of the gradients in the table of addresses
_MAXIMA = statistic(reduce="max")


def why_not(tensor: Tensor) -> str:
    """Why no kernel can work on this tensor, in words; empty if one can."""
    if tensor.device.type != "cpu":
        return f"it is on {tensor.device}, and kernels run on the CPU"
    dtype = real_dtype(tensor.dtype)
    if not supported(dtype) or (dtype is torch.float16 and not has_float16()):
        return f"its dtype is {tensor.dtype}"
    return unfit(tensor)


def _layout(p: Tensor) -> tuple[object, ...]:
    """Which memory a parameter is, and how its elements lie and are read there."""
    return p.data_ptr(), p.shape, p.stride(), p.dtype, p.is_neg()


class Fused(Looks):
    """A batch that runs on a kernel; see ``ravine.backends.Batch``.

    All tensors have what ``why_not`` asks for, all of one buffer the same dtype, and the states of a parameter
    its strides. The statistics of ``buffer_size`` steps are kept; of none, the kernel does not make them.
    """

    on_device: torch.device | None = None
    makes_numbers = takes_host_numbers = in_graphs = False

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
        names = list(program.states)
        self._layouts = [_layout(p) for p in params]
        # A lazily negated real tensor is the imaginary part of a conjugate; with one element it counts as contiguous.
        self._unsure = [] if sees_signs() else self.params
        self._grad_dtype = grad_dtype
        self._grads: list[Tensor | None] = []

        dtypes = {"param": real_dtype(params[0].dtype), "grad": real_dtype(grad_dtype)}
        dtypes |= {name: real_dtype(states[0][name].dtype) for name in names}
        # A kernel works on addresses: it would write past the end of a narrower state.
        assert all(s[name].dtype is states[0][name].dtype for s in states for name in names), (
            "a batch has one dtype for a state"
        )
        self._dtype = compute_dtype(list(dtypes.values()))
        dtypes |= dict.fromkeys(program.temporaries, self._dtype)
        self._dtypes = dtypes
        self._kernels = self._compiled(dtypes, buffer_size > 0)
        self._in_full = self._kernels[-1] if self._kernels else None
        self._in_brief: Runner | None = None
        self._large = self._in_full is not None and self._is_large(program, params, buffer_size > 0)

        sizes = [p.numel() * (2 if p.is_complex() else 1) for p in params]
        self.elements = sum(sizes)
        in_codes = coded(program, dtypes)
        blocks = [block_size(tuple(s[in_codes[0]].shape)) if in_codes else 1 for s in states]
        cuts = self._cuts(sizes, blocks)
        self._chunks = len(cuts)
        self._tensor_of, self._start, self._count = np.array(cuts, dtype=np.int64).reshape(-1, 3).T.copy()
        self._chunk_of = np.searchsorted(self._tensor_of, np.arange(len(params) + 1)).astype(np.int64)
        self._addresses = np.zeros((table_rows(program, dtypes), len(params)), dtype=np.int64)
        self._addresses[0] = [p.data_ptr() for p in params]
        for row, name in enumerate(names, start=2):
            self._addresses[row] = [s[name].data_ptr() for s in states]
        for row, name in enumerate(in_codes, start=len(program.buffers)):
            self._addresses[row] = [s[name + SCALES].data_ptr() for s in states]
        if in_codes:
            self._addresses[-1] = blocks
        self._kept = [[s[name] for name in names] for s in states]
        self._calls = Calls(program, params, states)
        self._calls.kept = frozenset(name for name in program.temporaries if not name.startswith("result."))
        for row, name in enumerate(program.buffers):
            if name in program.temporaries and not name.startswith("result."):
                for i, p in enumerate(params):
                    made = self._calls.made[i][name] = torch.empty_like(p.detach(), dtype=self._dtype)
                    self._addresses[row, i] = made.data_ptr()
        self._gather_loop = gather_loop(params, self._kept, self._addresses[: 2 + len(names)], grad_dtype)
        rows = max((len(p.numbers) for p in program.passes), default=0)
        self._one = np.zeros((max(1, rows), 1))  # numbers that all tensors share
        self._flat = self._one[:, 0]
        self._many = np.zeros((max(1, rows), len(params)))  # numbers of each tensor
        self._used: np.ndarray | None = None
        self._sums = np.zeros((max(len(p.reductions) for p in program.passes) or 1, len(cuts)))
        # Of chunks, which are combined when asked for, or by ``RecordRows``, which needs one buffer: the system gives no memory for
        # zeros that nobody writes to.
        self._statistics = np.zeros((max(1, buffer_size), len(CHUNK_STATISTICS), len(cuts)))
        # Of tensors: memory that is used again, since new memory costs more than what is written to it.
        self._combined = np.zeros((max(1, buffer_size), len(STATISTICS), len(params)))
        self._were_active: list[np.ndarray | None] = [None] * len(self._statistics)
        self._first_buffer, self._buffer_bytes = self._statistics.ctypes.data, self._statistics[0].nbytes
        self._full = [i for i, n in enumerate(sizes) if n]
        self._first_chunk = np.flatnonzero(self._start == 0)  # of each of these
        self._launch = self._table(
            chunks=len(cuts),
            together=1,
            tensors=len(params),
            tensor_of=self._tensor_of.ctypes.data,
            start=self._start.ctypes.data,
            count=self._count.ctypes.data,
            address=self._addresses.ctypes.data,
            sums=self._sums.ctypes.data,
            watch=self._first_buffer,
        )
        self._use(self._one)
        self._task = ctypes.addressof(self._launch)

    # What another kind of kernel does otherwise (``_matrix_batch.py``).

    def _compiled(self, dtypes: Mapping[str, torch.dtype], watch: bool) -> list[Runner | None]:
        """The kernel of each pass; none for one that computes nothing, before a function of whole tensors."""
        passes = enumerate(self.program.passes)
        return [compile_kernel(kernel_source(self.program, i, dtypes, watch)) if p.results else None for i, p in passes]

    def look(self, in_full: bool) -> None:
        super().look(in_full)
        if self.brief and self._in_brief is None:
            source = kernel_source(self.program, len(self._kernels) - 1, self._dtypes, watch=True, brief=True)
            try:
                self._in_brief = compile_kernel(source)
            except BackendError:  # a run that has come so far goes on as it was, and does not try in every step
                self._large = self.brief = False
        if self._kernels:
            self._kernels[-1] = self._in_brief if self.brief else self._in_full

    def _cuts(self, sizes: Sequence[int], blocks: Sequence[int]) -> list[tuple[int, int, int]]:
        """The chunks, of whole blocks: the tensor of each, its first element, and how many there are."""
        longest = [CHUNK // block * block for block in blocks]
        return [(i, o, min(longest[i], n - o)) for i, n in enumerate(sizes) for o in range(0, n, longest[i])]

    def _table(self, **fields: int) -> ctypes.Structure:
        """What kernels work on."""
        return Launch(**fields)

    # --- gathering --------------------------------------------------------------------------------------------

    def gather(self) -> bool:
        if self._gather_loop is not None:
            missing = self._gather_loop()
            if missing >= 0 and not any(p.is_neg() or (p.grad is not None and p.grad.is_neg()) for p in self._unsure):
                self.active = self._gather_loop.present() if missing else None
                return True
        return self._gather_each([p.grad for p in self.params])

    def _gather_each(self, grads: list[Tensor | None]) -> bool:
        """In Python: any gradient may be missing, strided otherwise, or lazily conjugated."""
        if [_layout(p) for p in self.params] != self._layouts:
            return False
        if any(
            [t.data_ptr() for t in kept] != a or any(t.is_neg() for t in kept)
            for kept, a in zip(self._kept, self._addresses[2 : 2 + len(self.program.states)].T.tolist(), strict=True)
        ):
            return False
        active = np.ones(len(grads), dtype=bool)
        for i, (p, g) in enumerate(zip(self.params, grads, strict=True)):
            if g is None:
                active[i] = False
                self._addresses[_GRAD, i] = 0
                continue
            if (
                g.dtype != self._grad_dtype
                or g.shape != p.shape
                or g.layout is not torch.strided
                or type(g) is not Tensor
            ):
                return False
            if is_zero_tensor(g) or g.is_conj() or g.is_neg() or (g.stride() != p.stride() and g.numel() > 1):
                # preserve_format gives the parameter's strides, in the gradient's dtype
                grads[i] = g = torch.empty_like(p, dtype=g.dtype, requires_grad=False).copy_(g.detach())
            self._addresses[_GRAD, i] = g.data_ptr()
        self._grads, self.active = grads, None if active.all() else active
        return True

    # --- running ----------------------------------------------------------------------------------------------

    def _use(self, numbers: np.ndarray) -> None:
        if self._used is not numbers:
            self._launch.rows, self._launch.numbers = numbers.shape[1], numbers.ctypes.data
            self._used = numbers

    def _set_numbers(self, numbers: Numbers | None) -> None:
        """Bring the numbers of a pass to where kernels read them."""
        if numbers:
            try:
                self._flat[: len(numbers)] = numbers
                self._use(self._one)
            except (ValueError, TypeError):  # some are arrays with a number per tensor
                for row, values in enumerate(numbers):
                    self._many[row] = values
                self._use(self._many)

    def _run(self, index: int, numbers: Numbers | None) -> None:
        self._set_numbers(numbers)
        if kernel := self._kernels[index]:
            self._start_over()
            kernel(self._task, self.elements, self._chunks)

    def _start_over(self) -> None:
        """Let the threads begin with the first chunk."""
        self._launch.next_chunk = 0
        if self.elements >= SEVERAL * CHUNK:
            self._launch.together = chunks_at_once(self.elements // CHUNK)

    def reduce(self, index: int, numbers: Numbers) -> np.ndarray:
        if self.active is not None:
            self._sums.fill(0.0)  # chunks of tensors without a gradient are not visited
        self._run(index, numbers)
        return self._of_tensors(self.program.passes[index].reductions)

    def _of_tensors(self, reductions: Sequence[Reduction]) -> np.ndarray:
        """The sums of tensors from those of their chunks."""
        rows = len(reductions)
        result = np.zeros((rows, len(self.params)))
        if self._full:
            sums: np.ndarray = np.add.reduceat(self._sums[:rows], self._first_chunk, axis=1)
            if reductions and reductions[-1].kind == "amax":  # they are the last
                maxima = [i for i, r in enumerate(reductions) if r.kind == "amax"]
                sums[maxima] = np.maximum.reduceat(self._sums[maxima], self._first_chunk, axis=1)
            if len(self._full) == len(self.params):
                return sums
            result[:, self._full] = sums
        return result

    def call(self, index: int, numbers: Numbers, bad: Tensor | None = None) -> None:
        assert bad is None, "on the host such a step ends before functions run"
        stepped = [i for i in range(len(self.params)) if self.active is None or self.active[i]]

        def number(which: int, i: int) -> float:
            return float(np.broadcast_to(numbers[which], len(self.params))[i])

        self._calls.run(index, stepped, lambda _: self._dtype, number)
        for name in [name for call in self.program.passes[index].calls for name in call.results if name]:
            row = self.program.buffers.index(name)
            for i in stepped:
                p, result = self.params[i].detach(), self._calls.made[i][name]
                if result.stride() != p.stride() or result.is_conj() or result.is_neg():
                    result = self._calls.made[i][name] = torch.empty_like(p, dtype=self._dtype).copy_(result)
                self._addresses[row, i] = result.data_ptr()

    def statistics(self, steps: int) -> Tensor:
        result = self._combined[:steps]
        kept = len(CHUNK_STATISTICS)
        result[:, kept] = 1.0  # they were stepped
        if self._chunks == len(self.params) == len(self._full):  # every tensor is one chunk
            result[:, :kept] = self._statistics[:steps]
        else:
            # Chunks first: combining is then done for all steps and statistics at once.
            chunks = np.ascontiguousarray(self._statistics[:steps].transpose(2, 1, 0))
            combined = np.add.reduceat(chunks, self._first_chunk, axis=0)
            combined[:, _MAXIMA] = np.maximum.reduceat(chunks[:, _MAXIMA], self._first_chunk, axis=0)
            result[:, :kept, self._full] = combined.transpose(2, 1, 0)
        for buffer_index, active in enumerate(self._were_active[:steps]):
            if active is not None:  # the chunks of others are of an older step
                result[buffer_index][:, ~active] = 0.0
        return torch.from_numpy(result)

    @property
    def by_chunks(self) -> ChunkStatistics:
        return ChunkStatistics(self._statistics[0], self._chunk_of)

    def write(self, numbers: Numbers | None, buffer_index: int = 0, skip: Tensor | None = None) -> None:
        assert skip is None, "on the host a step that is skipped is not written"
        self._launch.watch = self._first_buffer + buffer_index * self._buffer_bytes
        self._were_active[buffer_index] = self.active
        self._run(len(self.program.passes) - 1, numbers)
        self._calls.write()
        written = (
            self.params if self.active is None else [p for p, a in zip(self.params, self.active, strict=True) if a]
        )
        # What autograd saved of these tensors is no longer true; this lets it say so in backward.
        torch.autograd.graph.increment_version(written)
        self.release()

    def release(self) -> None:
        self._grads = []
        self._calls.release()
        if self._gather_loop is not None:
            self._gather_loop.release()
