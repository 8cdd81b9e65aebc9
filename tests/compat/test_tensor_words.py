"""The words that say which memory a tensor is: they are found, and whatever changes that changes one of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from ravine._compat.tensor_words import DATA_WORDS, tensor_words

AT = tensor_words()
pytestmark = pytest.mark.skipif(
    object.__basicsize__ != 16, reason="Python's objects lie otherwise here, and nothing looks at their words"
)


def read(address: int, count: int) -> list[int]:
    return list((ctypes.c_int64 * count).from_address(address))


def seen(tensor: Tensor) -> list[int]:
    assert AT is not None
    at = read(id(tensor), AT.tensor + 1)[AT.tensor]
    words = read(at, AT.dtype + 1)
    lie = words[AT.sizes : AT.sizes + tensor.ndim], words[AT.strides : AT.strides + tensor.ndim]
    memory = read(words[AT.storage], AT.data + DATA_WORDS)[AT.data :]
    return [at, words[AT.storage], words[AT.dims], *lie[0], *lie[1], words[AT.offset], words[AT.dtype], *memory]


def test_they_are_found_in_the_torch_that_is_pinned():
    assert AT is not None
    assert AT.tensor * 8 < Tensor.__basicsize__


@pytest.mark.parametrize("make", [Tensor.clone, Parameter, Tensor.t])
def test_they_are_what_torch_says(make):
    tensor = make(torch.zeros(4, 3))
    at, storage, dims, *lie, offset, _, memory, _, _ = seen(tensor)
    assert (at, storage, dims) == (tensor._cdata, tensor.untyped_storage()._cdata, 2)
    assert lie == [*tensor.shape, *tensor.stride()]
    assert (offset, memory) == (tensor.storage_offset(), tensor.untyped_storage().data_ptr())


LAZY: list[Tensor] = []
CHANGES: dict[str, Callable[[Tensor], object]] = {
    "other memory": lambda t: setattr(t, "data", t.detach().clone()),
    "the same memory in another order": lambda t: setattr(t, "data", t.data.t()),
    "the same memory, of another shape": lambda t: setattr(t, "data", t.data.view(2, 8)),
    "the same memory, as other numbers": lambda t: setattr(t, "data", t.data.view(torch.float16)[:, :4].as_strided((4, 4), (4, 1))),
    "the same memory, from another place": lambda t: setattr(t, "data", t.data.as_strided((4, 4), (1, 1), 5)),
    "set_": lambda t: t.set_(torch.zeros(4, 4)),
    "a storage that grows": lambda t: t.untyped_storage().resize_(1 << 20),
    "memory that a lazy copy shares": lambda t: LAZY.append(torch._lazy_clone(t)),
    "exchanged": lambda t: torch.utils.swap_tensors(t, torch.zeros(4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_memory_changes_a_word(change):
    tensor = torch.zeros(4, 4)
    before = seen(tensor)
    CHANGES[change](tensor)
    assert seen(tensor) != before


def test_the_bit_of_negated_elements_is_known():
    assert AT is not None
    tensor = torch.zeros(4, 4)
    for kind, negated in ((tensor, 0), (Parameter(tensor), 0), (torch._neg_view(tensor), 1), (tensor.t(), 0)):
        keys = read(read(id(kind), AT.tensor + 1)[AT.tensor], AT.keys + 1)[AT.keys]
        assert keys >> AT.negated & 1 == negated


def test_steps_change_none():
    tensor = Parameter(torch.zeros(4, 4))
    before = seen(tensor)
    tensor.sum().backward()
    with torch.no_grad():
        tensor.add_(1)
    tensor.grad = None
    tensor.requires_grad_(False)
    assert seen(tensor) == before
