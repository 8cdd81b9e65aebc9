"""Tensors of the CPU counted as those of a device without kernels: torch's operations on lists step them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from ravine import backends
from ravine.optim import Optimizer
from ravine.optim._engine import prepare


@contextlib.contextmanager
def on_lists() -> Iterator[None]:
    """A context in which optimizers with ``fused=None`` step tensors of the CPU on lists, where their formula can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "on_host", lambda device: False)
        patch.setattr(prepare, "why_not", lambda tensor: "there are none")
        yield


def count_from_numbers(optimizer: Optimizer) -> None:
    """Step counts and kept numbers are known before the first step, as those on the host are beside a device."""
    optimizer.init_state()
    for state in optimizer.state.values():
        state.update({name: float(value) for name, value in state.items() if value.ndim == 0})
