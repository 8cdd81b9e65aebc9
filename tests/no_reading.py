"""Where tensors on the CPU stand in for a device's: what would wait for it raises, and what it could not read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_READS = ("item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__array__", "__index__")


class _NoReading(TorchDispatchMode):
    """What reads a tensor's value below Python raises."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        super().__init__()
        self._allowed = allowed

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads = function is torch.ops.aten._local_scalar_dense.default or "nonzero" in function.__name__
        if reads and function.__name__.partition(".")[0] not in self._allowed:
            raise AssertionError(f"{function} waits for the device")
        return function(*args, **(kwargs or {}))


def _reading(name: str) -> Any:
    def raises(self: Tensor, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"Tensor.{name} waits for the device")

    return raises


def _indexing(name: str) -> Any:
    """A list or an array as an index is copied to the device, and truth values are counted there."""
    known = getattr(Tensor, name)

    def looks(self: Tensor, index: Any, *value: Any) -> Any:
        for one in index if isinstance(index, tuple) else (index,):
            if not (one is None or one is Ellipsis or isinstance(one, int | slice)):
                raise AssertionError(f"Tensor.{name} waits for the device: an index is a {type(one).__name__}")
        return known(self, index, *value)

    return looks


def between_addresses(tensor: Tensor) -> Tensor:
    """A copy, of 4 bytes for each element, at an address that is no multiple of that."""
    n = tensor.numel()
    memory = bytearray(4 * n + 4)
    return torch.frombuffer(memory, dtype=tensor.dtype, offset=1, count=n).view(tensor.shape).copy_(tensor)


@contextlib.contextmanager
def no_reading(monkeypatch: pytest.MonkeyPatch, allowed: Sequence[str] = ()) -> Iterator[None]:
    """A tensor that is read in here is an error; ``allowed``: but by these methods and operations of torch."""
    with monkeypatch.context() as patch, _NoReading(allowed):
        for name in set(_READS).difference(allowed):
            patch.setattr(Tensor, name, _reading(name))
        for name in ("__getitem__", "__setitem__"):
            patch.setattr(Tensor, name, _indexing(name))
        yield
