"""The tables on a device that kernels of one batch work from, and what of them is new in a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ravine._compat.torch import raw_stream
from ravine.backends import to_device
from ravine.backends.triton._kernel_text import ALIGNED, GRAD, PARAM, STATE
from ravine.backends.triton._stage_text import POKED, poke_source
from ravine.backends.triton._text_compiler import Launch, kernel

#: Elements in a chunk, if some tensor has 16 bits, if none has, and where there are fewer elements than so many. An H200 measured
#: .97 of its memory's rate and more with these, with all figures and without; with 2048 up to a twentieth less for 16 bits, and
#: an H100 up to a tenth less with 8192. The number of elements and dtypes alone choose, so that sums do not depend on the device.
_NARROW_SPAN, _SPAN, _SHORT, _FEW = 4096, 3072, 1024, 1 << 23
#: Of so many tensors the gradients' addresses are arguments of a launch or two: a third of what a copy costs the host.
_FEW_TENSORS = 2 * POKED
#: For how many patterns of alignment the chunks are kept.
_PATTERNS = 64


def span_for(elements: int, narrow: bool, least: int) -> int:
    """Elements in a chunk, at least so many; ``narrow``: a tensor has 16 bits."""
    return max(least, _SHORT if elements < _FEW else _NARROW_SPAN if narrow else _SPAN)


def _off(addresses: np.ndarray) -> np.ndarray:
    """1 for those that are no multiple of 16."""
    return (addresses % ALIGNED != 0).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ChunkGroup:
    """Chunks that one launch takes.

    Attributes:
        kind: which of their addresses are no multiple of 16, as ``blocks_for`` has it, and in the bits above what else tells
            kernels apart.
        place: which they are, a tensor on the device.
        count: how many.
    """

    kind: int
    place: Tensor
    count: int


class Tables:
    """Where the tensors of a batch are, cut into chunks.

    Args:
        sizes: what kernels are given of each tensor's size: its elements, or several rows of numbers.
        counts: chunks of each tensor.
        addresses: of every buffer of every tensor, shape (buffers, tensors); row 1 is the gradients'.
        device: where the tables are.
        kinds: what kernel each tensor needs, but for addresses; None: all the same.

    Attributes:
        size, first_chunk, address: tensors on the device, for kernels.
        chunks: how many there are.
        grads: the gradients' addresses on the host, 0 for none; the batch writes them.
        launches: after ``take``, the chunks of each launch.
        forgotten: how often the chunks of all patterns were let go of; launches that are kept hold them.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        counts: np.ndarray,
        addresses: np.ndarray,
        device: torch.device,
        kinds: np.ndarray | None = None,
    ) -> None:
        self._device = device
        self._host = addresses
        self.grads: np.ndarray = addresses[1]
        self._taken = b""  # the gradients' addresses that the device has
        first = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(counts, out=first[1:])
        self.chunks = int(first[-1])
        tensor = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        self._tensor_of, self._place = tensor, ((np.arange(self.chunks) - first[tensor]) << 32) + tensor
        self.size, self.first_chunk = self._sent(np.ascontiguousarray(sizes, dtype=np.int64)), self._sent(first)
        self.address = self._sent(addresses)
        self._grad_row, self._host_row = self.address[1], torch.from_numpy(self.grads)
        states = np.bitwise_or.reduce(addresses[2:], axis=0, initial=0)
        self._fixed = PARAM * _off(addresses[0]) | STATE * _off(states)
        self._fixed = self._fixed if kinds is None else self._fixed | kinds
        self._places: dict[bytes, list[ChunkGroup]] = {}
        self._everything = self._sent(self._place)
        unknown = np.full(len(counts), GRAD + PARAM + STATE) | (0 if kinds is None else kinds)
        self._unaligned = self._grouped(unknown)  # what a graph has whose gradients are at addresses of a new pattern
        self.launches: list[ChunkGroup] = []
        self.forgotten = 0
        self._captured_groups: list[ChunkGroup] = []
        self._pokes: list[Launch] = []  # those of the table that lasts

    def _sent(self, array: np.ndarray) -> Tensor:
        return to_device(torch.from_numpy(array), self._device)

    def forms(self) -> list[int]:
        """The kinds of kernel that tensors need, but for where gradients are."""
        result: list[int] = np.unique(self._fixed).tolist()
        return result

    def take(self, recorded: bool) -> Tensor:
        """The table of addresses with the gradients as they are now; they are copied only if they are new.

        While a graph is captured, it gets a table of its own and writes the addresses into that at every replay.
        """
        if recorded:
            return self._captured()
        addresses = self.grads.tobytes()
        if addresses != self._taken:
            if len(self.grads) <= _FEW_TENSORS:
                self._poke(self.address)
            else:
                row = self._host_row
                self._grad_row.copy_(row if self._device.type == "cpu" else row.pin_memory(), non_blocking=True)
            self.launches = self._launches_for(self._loose())
            self._taken = addresses
        return self.address

    def _loose(self) -> np.ndarray:
        """What kernel each tensor needs, with its gradient where it is now."""
        if int(np.bitwise_or.reduce(self.grads)) % ALIGNED == 0:  # of all together: one call of NumPy, not six
            return self._fixed
        return self._fixed | GRAD * _off(self.grads)

    def _poke(self, address: Tensor) -> None:
        """Write the gradients' addresses to a table on the device, as arguments of a kernel."""
        stream, grads = current_stream(self._device), self.grads.tolist()
        parts = range(0, len(grads), POKED)
        pokes = self._pokes if address is self.address else []
        if not pokes:
            poker = kernel(poke_source(), self._device)
            pokes += [
                poker.bind((1, 1, 1), address, len(grads) + first, min(POKED, len(grads) - first)) for first in parts
            ]
        for first, poke in zip(parts, pokes, strict=True):
            some = grads[first : first + POKED]
            poke(stream, *some, *[0] * (POKED - len(some)))

    def _launches_for(self, loose: np.ndarray) -> list[ChunkGroup]:
        """Tensors at addresses that are no multiple of 16 have their own launch."""
        key = loose.tobytes()
        if key not in self._places:
            if len(self._places) == _PATTERNS:  # gradients at other places in every step: the tables of long ago
                self._places.clear()
                self.forgotten += 1
            self._places[key] = self._grouped(loose)
        return self._places[key]

    def _grouped(self, kinds_of: np.ndarray) -> list[ChunkGroup]:
        kinds = np.unique(kinds_of).tolist()
        places = [self._place[kinds_of[self._tensor_of] == kind] if len(kinds) > 1 else None for kind in kinds]
        groups = [
            ChunkGroup(kind, self._everything, self.chunks) if p is None else ChunkGroup(kind, self._sent(p), len(p))
            for kind, p in zip(kinds, places, strict=True)
        ]
        return [group for group in groups if group.count]

    def _captured(self) -> Tensor:
        address = self.address.clone()
        self._poke(address)
        known = self._places.get(self._loose().tobytes())
        self.launches = known or self._unaligned
        self._captured_groups += self.launches  # a graph goes on reading their places
        self._taken = b""  # the next step outside the graph looks for its own launches
        return address


def current_stream(device: torch.device) -> int:
    """The stream that torch runs on there, as a number."""
    return 0 if device.type == "cpu" else raw_stream(device)
