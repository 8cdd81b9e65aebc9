"""Comparison of trees to the bit, for the tests of checkpoints; holds no tests."""

import ctypes
import math
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor


def same(a: Any, b: Any) -> bool:
    """Whether both are equal to the bit, and of the same type."""
    if isinstance(a, Tensor):
        return type(b) is Tensor and (a.dtype, a.shape) == (b.dtype, b.shape) and bytes_of(a.detach()) == bytes_of(b)
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, float):
        return type(b) is float and ((math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b))
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(b) is (list if isinstance(a, list) else tuple) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def bytes_of(tensor: Tensor) -> bytes:
    whole = tensor.clone(memory_format=torch.contiguous_format)
    return ctypes.string_at(whole.data_ptr(), whole.nbytes)
