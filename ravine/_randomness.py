"""The random states that a training draws from: torch's on every device, Python's and NumPy's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def state() -> dict[str, Any]:
    """All of them, as plain values and tensors."""
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore(kept: dict[str, Any]) -> None:
    """Continue from what :func:`state` gave."""
    torch.set_rng_state(kept["torch"])
    version, numbers, gauss = kept["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(kept["numpy"]))
    for device, one in enumerate(kept.get("cuda", [])[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(one, device)


def seed(number: int) -> None:
    """Begin all of them anew."""
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number % 2**32)


@contextmanager
def isolated() -> Iterator[None]:
    """What is drawn inside does not change the random states outside."""
    kept = state()
    try:
        yield
    finally:
        restore(kept)
