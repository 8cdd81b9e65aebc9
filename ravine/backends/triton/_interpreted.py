"""Functions of kernels in Triton's interpreter, where it has none or another result than a GPU.

It has no functions of libdevice, truncates float32 to bfloat16, and loses the subnormal numbers of bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import TensorHandle


def _by_numpy(function: Callable[..., np.ndarray]) -> Callable[..., Any]:
    """The function of blocks, or of numbers, that NumPy computes."""

    def call(*xs: Any) -> Any:
        arrays = [x.handle.data for x in xs]
        with np.errstate(all="ignore"):
            result = np.asarray(function(*arrays), dtype=arrays[0].dtype)
        blocks = [x for x in xs if x.type.is_block()]
        kind = tl.block_type(xs[0].dtype, list(result.shape)) if blocks else xs[0].type
        return tl.tensor(TensorHandle(result, xs[0].dtype), kind)

    return call


def _widen(x: Any, real: Any) -> Any:
    if x.dtype == tl.bfloat16:
        return (x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True).to(real)
    return x.to(real)


def _narrow(x: Any, dtype: Any) -> Any:
    if dtype != tl.bfloat16:
        with np.errstate(all="ignore"):
            return x.to(dtype)
    bits = x.to(tl.float32).to(tl.uint32, bitcast=True)
    bits = tl.where(x == x, bits + 0x7FFF + ((bits >> 16) & 1), 0x7FC00000) >> 16
    return bits.to(tl.uint16).to(tl.bfloat16, bitcast=True)


def scope() -> dict[str, Any]:
    """These functions by their names in kernels."""
    return {
        # Of one exponent for all, 0.5, NumPy takes a square root, which is NaN at minus infinity.
        "pow": _by_numpy(lambda a, b: np.power(*(np.ascontiguousarray(x) for x in np.broadcast_arrays(a, b)))),
        "cube_root": _by_numpy(lambda x: np.where(x < 0, np.where(np.isinf(x), np.inf, np.nan), np.cbrt(np.abs(x)))),
        "exp": _by_numpy(np.exp),
        "log": _by_numpy(np.log),
        "tanh": _by_numpy(np.tanh),
        "sqrt": _by_numpy(np.sqrt),
        "div": _by_numpy(np.divide),
        "widen": _widen,
        "narrow": _narrow,
    }
