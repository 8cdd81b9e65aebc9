"""Looks at every parameter, gradient and state in one C loop, in place of some ten calls of Python for each.

torch gives the address, shape, strides, dtype and device of a tensor through a C function (DLPack's exchange API, torch
2.10 or newer). Parameters and states seldom change: torch is asked about one of them only if a word of its object has
changed (``_compat/tensor_words.py``), or always if these words cannot be found. Where the C function or the compiled loop is
missing, ``native_gather`` gives None and the batch looks at its tensors in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ravine._compat.tensor_words import DATA_WORDS, tensor_words
from ravine._compat.torch import fill_dltensor
from ravine.backends.triton._native import native

#: DLPack's numbers of devices.
_CPU, _CUDA, _ROCM = 1, 2, 10


def _kind(tensor: Tensor, dtype: torch.dtype) -> int:
    """Number of dimensions and dtype, as the third word of a DLTensor has them."""
    code = 4 if dtype is torch.bfloat16 else 2
    return tensor.dim() | (code | dtype.itemsize * 8 << 8 | 1 << 16) << 32


def _device(device: torch.device) -> int:
    """A device, as the second word of a DLTensor has it."""
    if device.type == "cpu":
        return _CPU
    return (_CUDA if torch.version.hip is None else _ROCM) | (device.index or 0) << 32


class NativeGather:
    """The loop over the tensors of one batch.

    Args:
        look: the compiled function.
        params: real tensors of one device.
        states: the states of each, in the order of the rows of ``addresses``.
        addresses: int64, a row each for parameters, gradients and states. Those of the gradients are written.
        grad_dtype: the dtype that gradients must have.

    Attributes:
        knows_signs: whether it sees tensors whose elements are lazily negated.
    """

    def __init__(
        self,
        look: Callable[..., int],
        params: Sequence[Tensor],
        states: Sequence[Sequence[Tensor]],
        addresses: np.ndarray,
        grad_dtype: torch.dtype,
    ) -> None:
        rows = [list(params), *map(list, zip(*states, strict=True))]
        kinds = [[_kind(t, t.dtype) for t in row] for row in rows]
        kinds.insert(1, [_kind(p, grad_dtype) for p in params])
        first = [len(params), *np.cumsum([0, *(p.dim() for p in params)]).tolist()]
        lists = [
            [k for row in kinds for k in row],
            first,
            [n for p in params for n in p.shape] or [0],
            [n for p in params for n in p.stride()] or [0],
            [p.numel() for p in params],
        ]
        words = tensor_words()
        self.knows_signs = words is not None
        seen = np.zeros((len(addresses), len(params), 4 + DATA_WORDS), dtype=np.int64)
        known = np.array(words or 0, dtype=np.int64)
        arrays = [addresses, *(np.array(values, dtype=np.int64) for values in lists), seen, known]
        self._arrays = arrays  # alive as their addresses
        pointers = [array.ctypes.data for array in arrays]
        pointers[2] += 8  # the number of parameters stands before the first
        if words is None:
            pointers[-1] = 0
        self._look = look
        self._given = (
            tuple(t for row in rows for t in row),
            Tensor,
            fill_dltensor(),
            _device(params[0].device),
            *pointers,
        )

    def __call__(self) -> int:
        """Read the gradients' addresses: 2 for each that is None, 1 more if any is new; -1 if anything else is."""
        return self._look(*self._given)


def native_gather(
    params: Sequence[Tensor], states: Sequence[Sequence[Tensor]], addresses: np.ndarray, grad_dtype: torch.dtype
) -> NativeGather | None:
    """The loop for these tensors; None where it cannot be had."""
    if grad_dtype.is_complex or any(p.is_complex() for p in params) or not fill_dltensor():
        return None
    made = native()
    return None if made is None else NativeGather(made.look, params, states, addresses, grad_dtype)
