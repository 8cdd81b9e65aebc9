"""Launches a compiled kernel by one call of C, where Triton's own launcher takes some 6 us for what the driver does in 2.

The arguments that stay are written once, into memory that the driver's ``cuLaunchKernel`` reads. Where a kernel needs more than
a plain launch, or the compiled function is missing, ``native_launch`` gives None, and Triton launches.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends.triton._native import native

#: What an argument is to the C function; other types are left to Triton.
_INTEGER, _REAL = 0, 1
_KINDS = {"i32": _INTEGER, "i64": _INTEGER, "fp64": _REAL}
#: What a kernel may have that a plain launch does not give it, by Triton's names, and what it then is.
_PLAIN = {"num_ctas": 1, "launch_cooperative_grid": False, "launch_pdl": False}
_NO_MEMORY = ("global_scratch_size", "profile_scratch_size")


@cache
def _entry() -> int:
    """The address of the driver's function; 0: none."""
    if torch.version.hip is not None:
        return 0
    try:
        return ctypes.cast(ctypes.CDLL("libcuda.so.1").cuLaunchKernel, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


class NativeLaunch:
    """One kernel, ready to be given its arguments.

    Args:
        launch: the compiled function.
        entry: the address of the driver's function.
        compiled: Triton's compiled kernel, which is loaded.
        types: of its arguments, as Triton writes them.
    """

    def __init__(self, launch: Callable[..., int], entry: int, compiled: Any, types: Sequence[str]) -> None:
        self._launch = launch
        about = compiled.metadata
        threads = about.num_warps * getattr(about.target, "warp_size", 32)
        self._head, self._kinds = [entry, compiled.function], [_kind(t) for t in types]
        self._tail = [threads, about.shared]

    def bind(self, grid: tuple[int, int, int], arguments: Sequence[Any]) -> tuple[Callable[..., int], np.ndarray]:
        """The function that launches with these arguments first, and what it reads: keep that as long.

        It is called with the address of what it reads, the stream, and what comes after these arguments.
        """
        count, fixed = len(self._kinds), len(arguments)
        values = np.zeros(count, dtype=np.int64)
        for i, (value, kind) in enumerate(zip(arguments, self._kinds, strict=False)):
            if kind == _REAL:
                values.view(np.float64)[i] = value
            else:
                values[i] = value.data_ptr() if isinstance(value, Tensor) else value
        head = [*self._head, *grid, *self._tail, fixed, count]
        return self._launch, np.array([*head, *values.tolist(), *self._kinds], dtype=np.int64)


def _kind(type_: str) -> int:
    return _INTEGER if type_.startswith("*") else _KINDS[type_]


def native_launch(compiled: Any, types: Sequence[str]) -> NativeLaunch | None:
    """The launcher of a kernel that is loaded on the current device; None where Triton has to launch it."""
    made, entry = native(), _entry()
    if made is None or not entry or len(types) > made.MOST_ARGUMENTS:
        return None
    if not all(t.startswith("*") or t in _KINDS for t in types):
        return None
    about, own = compiled.metadata, compiled.run
    if any(getattr(about, name, usual) != usual for name, usual in _PLAIN.items()):
        return None
    # An older or newer Triton without one of these names launches itself.
    if any(getattr(about, name, 1) for name in _NO_MEMORY) or getattr(own, "gsan_enabled", False):
        return None
    return NativeLaunch(made.launch, entry, compiled, types)
