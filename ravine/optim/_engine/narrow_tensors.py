"""Which tensors of a parameter are kept in 16 or 8 bits, in words: for those who read what rounding costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ravine.backends._eight_bits import is_code
from ravine.backends._rounding_figures import is_narrow
from ravine.formula._compensation import is_rest, rests_of
from ravine.optim._engine.state_storage import StateStorage


def narrow_tensors(optimizer: Any, p: Tensor) -> list[list[str]]:
    """Of each its name (``"param"`` or that of a state), its dtype, and ``"nearest"`` or ``"stochastic"``."""
    rows = []
    storage: StateStorage = optimizer._storage
    if is_narrow(p.dtype):
        bits = storage.param_bits if p.dtype is torch.bfloat16 else None
        kept, at_random = _named(p.dtype), bits == "stochastic"
        if rests_of(bits):
            kept, at_random = f"{bits} bits", storage.at_random
        if bits != 32:  # which lose nothing
            rows.append(["param", kept, "stochastic" if at_random else "nearest"])
    for name, state in optimizer.state.get(p, {}).items():
        narrow = isinstance(state, Tensor) and is_narrow(state.dtype) and state.shape == p.shape
        if not narrow or is_rest(name):
            continue
        # What the program does not round, the tensor that it is written to does.
        kind, at_random = storage(name, 0.0, of_bfloat16=p.dtype is torch.bfloat16)
        by_program = is_code(state.dtype) or kind == _named(state.dtype)
        rows.append([name, _named(state.dtype), "stochastic" if by_program and at_random else "nearest"])
    return rows


def _named(dtype: torch.dtype) -> str:
    return "8 bits" if is_code(dtype) else str(dtype).removeprefix("torch.")
