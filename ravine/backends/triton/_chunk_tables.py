"""The tables on a device that kernels of one batch work from, and what of them is new in a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ravine._compat.torch import raw_stream
from ravine.backends.triton._pass_text import ALIGNED, POKED, poke_source
from ravine.backends.triton._text_compiler import kernel

#: Elements in a chunk: fewer where there would be fewer chunks than this. It is chosen by the number of elements
#: alone, so that sums do not depend on the device.
_SPANS, _CHUNKS = (8192, 4096, 2048), 4096


def span_for(elements: int, least: int) -> int:
    """Elements in a chunk, at least so many."""
    return max(least, next((s for s in _SPANS if elements >= s * _CHUNKS), 1024))


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """An array there, without waiting: torch's allocator gives pinned memory out again once it was copied."""
    host = torch.from_numpy(array)
    return host.clone() if device.type == "cpu" else host.pin_memory().to(device, non_blocking=True)


class Tables:
    """Where the tensors of a batch are, cut into chunks.

    Args:
        sizes: elements of each tensor.
        addresses: of every buffer of every tensor, shape (buffers, tensors); row 1 is the gradients'.
        span: elements in a chunk.
        device: where the tables are.

    Attributes:
        size, first_chunk, address: tensors on the device, for kernels.
        chunks: how many there are.
    """

    def __init__(self, sizes: Sequence[int], addresses: np.ndarray, span: int, device: torch.device) -> None:
        self._device = device
        self._host = addresses
        counts = -(-np.array(sizes, dtype=np.int64) // span)
        first = np.zeros(len(sizes) + 1, dtype=np.int64)
        np.cumsum(counts, out=first[1:])
        self.chunks = int(first[-1])
        tensor = np.repeat(np.arange(len(sizes), dtype=np.int64), counts)
        self._tensor_of, self._place = tensor, ((np.arange(self.chunks) - first[tensor]) << 32) + tensor
        self.size, self.first_chunk = to_device(np.array(sizes, dtype=np.int64), device), to_device(first, device)
        self.address = to_device(addresses, device)
        self._fixed = np.bitwise_or.reduce(np.delete(addresses, 1, axis=0), axis=0)
        self._places: dict[bytes, list[tuple[bool, Tensor, int]]] = {}
        self._everything = to_device(self._place, device)
        self._grads: list[int] = []
        self.launches: list[tuple[bool, Tensor, int]] = []

    def take(self, grads: list[int], recorded: bool) -> Tensor:
        """The table of addresses with these gradients, 0 for none; they are copied only if they are new.

        While a graph is captured, it gets a table of its own and writes the addresses into that at every replay.
        """
        if recorded:
            return self._captured(grads)
        if grads != self._grads:
            self._host[1] = grads
            if self._device.type == "cpu":
                self.address[1] = torch.tensor(grads, dtype=torch.int64)
            else:
                self.address[1].copy_(torch.tensor(grads, dtype=torch.int64).pin_memory(), non_blocking=True)
            self.launches = self._launches_for((self._fixed | self._host[1]) % ALIGNED == 0)
            self._grads = grads
        return self.address

    def _launches_for(self, aligned: np.ndarray) -> list[tuple[bool, Tensor, int]]:
        """Whether vectors are 16 bytes, the chunks, and how many: tensors at other addresses have their own launch."""
        key = aligned.tobytes()
        if key not in self._places:
            if aligned.all() or not aligned.any():
                groups = [(bool(aligned.all()), self._place)]
            else:
                groups = [(one, self._place[aligned[self._tensor_of] == one]) for one in (True, False)]
            whole = [(one, self._everything, len(p)) for one, p in groups if len(p) == self.chunks]
            self._places[key] = whole or [(one, to_device(p, self._device), len(p)) for one, p in groups if len(p)]
        return [launch for launch in self._places[key] if launch[2]]

    def _captured(self, grads: list[int]) -> Tensor:
        address = self.address.clone()
        poke, stream = kernel(poke_source(), self._device), current_stream(self._device)
        for first in range(0, len(grads), POKED):
            some = grads[first : first + POKED]
            poke.launch((1, 1, 1), stream, address[1, first:], len(some), *some, *[0] * (POKED - len(some)))
        known = self._places.get(((self._fixed | np.array(grads, dtype=np.int64)) % ALIGNED == 0).tobytes())
        self.launches = known or [(False, self._everything, self.chunks)]
        self._grads = []  # the next step outside the graph looks for its own launches
        return address


def current_stream(device: torch.device) -> int:
    """The stream that torch runs on there, as a number."""
    return 0 if device.type == "cpu" else raw_stream(device)
