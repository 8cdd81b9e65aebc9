"""Where a tensor's object in memory has the words that say which memory the tensor is and how it lies there.

As long as none of these words is another, the tensor is what it was: comparing them costs a quarter of asking torch. They are
read and never written. Where torch has them is found out from a tensor that is known, so that a torch with other objects is
asked instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch

_SHAPE, _STRIDES, _OFFSET = (2, 3, 5, 7, 11), (20011, 5003, 701, 97, 7), 13
#: How many words are looked at: an object of C++ has at least as many.
_OF_OBJECT, _OF_TENSOR, _OF_STORAGE = 4, 22, 6
DATA_WORDS = 3


class TensorWords(NamedTuple):
    """Places, counted in words of 8 bytes.

    Attributes:
        tensor: in the Python object, of the address of the C++ tensor.
        storage: in the C++ tensor, of the address of the storage.
        dims, sizes, strides, offset: in the C++ tensor.
        dtype: in the C++ tensor; the device stands in the same word.
        keys: in the C++ tensor, of the set that says how operations reach it, and so whether its elements are negated.
        negated: the bit of ``keys`` that says that.
        data: in the storage, the first of ``DATA_WORDS``: the address of the memory, and who frees it, which is another while a
            lazy copy shares it.
        most_dims: tensors of more dimensions have their sizes elsewhere.
    """

    tensor: int
    storage: int
    dims: int
    sizes: int
    strides: int
    offset: int
    dtype: int
    keys: int
    negated: int
    data: int
    most_dims: int = len(_SHAPE)


@cache
def tensor_words() -> TensorWords | None:
    """Where they are; None if they are not where they are looked for."""
    try:
        tensor = torch.empty(60_000, device="cpu", dtype=torch.float32).as_strided(_SHAPE, _STRIDES, _OFFSET)
        storage = tensor.untyped_storage()
        storage.data_ptr()
    except RuntimeError:  # in a transform of torch's, whose tensors have no memory
        return None
    of_tensor, of_storage = getattr(tensor, "_cdata", 0), getattr(storage, "_cdata", 0)
    if not (of_tensor and of_storage) or type(tensor).__basicsize__ < 8 * _OF_OBJECT:
        return None
    words = _read(of_tensor, _OF_TENSOR)
    most = len(_SHAPE)
    layout = [most, *_SHAPE, *_STRIDES, _OFFSET, tensor.numel()]
    try:
        in_object, in_storage = _read(id(tensor), _OF_OBJECT).index(of_tensor), _read(of_storage, _OF_STORAGE)
        dims = _place_of(layout, words)
        dtype, other = dims + len(layout), _read(tensor.view(torch.int32)._cdata, _OF_TENSOR)
        keys = dtype + 1
        set_there = _read(of_tensor, keys + 1)[keys] ^ _read(torch._neg_view(tensor)._cdata, keys + 1)[keys]
        negated = set_there.bit_length() - 1
        places = words.index(of_storage), dims, dims + 1, dims + 1 + most, dims + 1 + 2 * most, dtype, keys, negated
        data = in_storage.index(storage.data_ptr())
    except ValueError:
        return None
    known = (
        set_there > 0
        and set_there == 1 << negated
        and dtype < _OF_TENSOR
        and words[dtype] != other[dtype]
        and data + DATA_WORDS <= _OF_STORAGE
    )
    return TensorWords(in_object, *places, data) if known else None


def _read(address: int, count: int) -> list[int]:
    return list((ctypes.c_int64 * count).from_address(address))


def _place_of(part: Sequence[int], whole: Sequence[int]) -> int:
    """Where a sequence stands in another.

    Raises:
        ValueError: nowhere.
    """
    return [list(whole[i : i + len(part)]) for i in range(len(whole))].index(list(part))
