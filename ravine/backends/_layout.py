"""What every kernel asks of the layout of a tensor, whatever device it is for."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.errors import an


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the numbers that a tensor is made of: a complex number is two of them."""
    return dtype.to_real() if dtype.is_complex else dtype


def keeps_all(dtype: torch.dtype) -> bool:
    """Whether a tensor keeps values as they are computed, in single or double precision."""
    return real_dtype(dtype) in (torch.float32, torch.float64)


def dense(tensor: Tensor) -> bool:
    """Whether the elements fill one stretch of memory, in any order of dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride != expected:
                return False
            expected *= size
    return True


def misaligned(tensor: Tensor) -> bool:
    """Whether it begins in the middle of an element."""
    if tensor.layout is not torch.strided:
        return False
    return tensor.data_ptr() % real_dtype(tensor.dtype).itemsize != 0


def unfit(tensor: Tensor) -> str:
    """Why no kernel of any kind can work on this tensor, in words; empty if one may."""
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"it is {an(type(tensor).__name__)}, a tensor subclass"
    if tensor.layout is not torch.strided:
        return f"its layout is {tensor.layout}"
    if tensor.is_conj() or tensor.is_neg():
        return "it is a lazy conjugate or negative view"
    if not dense(tensor):
        return (
            f"its elements do not fill one stretch of memory (shape {tuple(tensor.shape)}, strides {tensor.stride()})"
        )
    return ""
