"""Looks at every parameter, gradient and state in one compiled loop, in place of some ten calls of Python for each.

torch gives the address, shape, strides, dtype and device of a tensor through a C function (DLPack's exchange API,
torch 2.10 or newer). The loop reads ``.grad``, asks that function, and compares what it hears with what the batch
was made for. It is compiled like a kernel. Where torch has no such function, ``gather_loop`` gives None and the
batch looks at its tensors in Python. Of parameters and states, which seldom change, it first compares the words in which
torch keeps all of that (``_compat/tensor_words.py``), and asks only if one is another.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ravine._compat.tensor_words import DATA_WORDS, TensorWords, tensor_words
from ravine._compat.torch import fill_dltensor
from ravine.backends.cpu._compiler import compile_kernel

_I64 = ctypes.c_int64
_CHANGED = -1
_SEEN = 4 + DATA_WORDS  # words of each tensor
_CPU = 1  # DLPack's number of the device, whose index is 0


class _GatherTable(ctypes.Structure):
    """What the loop works on: one 64-bit integer for each field; those from ``tensors_of`` on are addresses."""

    _fields_ = (
        ("missing", _I64),  # the answer: how many gradients are None, or -1 if something is not as it was
        ("release", _I64),  # only let go of the gradients
        ("params", _I64),  # how many there are
        ("fill", _I64),  # torch's function: fills a DLTensor
        ("get", _I64),  # PyObject_GetAttr
        ("free", _I64),  # Py_DecRef
        ("clear", _I64),  # PyErr_Clear
        ("name", _I64),  # the string "grad"
        ("none", _I64),
        ("kind", _I64),  # the class of gradients
        ("buffers", _I64),  # how many each parameter has: itself, its gradient, its states
        ("words", _I64),  # whether words of tensors are compared
        ("tensors_of", _I64),
        ("held", _I64),  # the gradients: kept alive until the kernel has read them
        ("view", _I64),  # a DLTensor
        ("address", _I64),  # of params and gradients
        ("expected", _I64),  # number of dimensions and dtype of param and gradient, as a DLTensor has them
        ("first_dim", _I64),
        ("shape", _I64),
        ("stride", _I64),
        ("numel", _I64),
        ("seen", _I64),  # addresses of the C++ tensor and its storage, offset, dtype and device, words of the storage
    )


# A DLTensor is 48 bytes: address, device, dimensions and dtype, shape, strides, offset.
_SOURCE = """\
def kernel(task):
    table = carray(at_int64(task), {size})
{fields}
    for i in range(params):
        if held[i] != 0:
            call_void(free, held[i])
            held[i] = 0
    table[{missing}] = 0
    if release != 0:
        return
    for i in range(params):
        first, dims = first_dim[i], first_dim[i + 1] - first_dim[i]
        for which in range(buffers):
            one = tensors_of[which, i]
            if which == 1:
                one = call_object(get, tensors_of[0, i], name)
                held[i] = one
                address[1, i] = 0
                if one == none:
                    table[{missing}] += 1
                    continue
                if one == 0 or carray(at_int64(one), 2)[1] != kind:
                    if one == 0:
                        call_void(clear, 0)
                    table[{missing}] = {changed}
                    return
            tensor = 0
            if words > 0:
                tensor = carray(at_int64(one), {words.tensor} + 1)[{words.tensor}]
                keys = carray(at_int64(tensor), {words.keys} + 1)[{words.keys}]
                if (keys >> {words.negated}) - ((keys >> {words.negated} + 1) << 1) != 0:
                    table[{missing}] = {changed}
                    return
            if which != 1 and words > 0:
                if tensor == seen[which, i, 0]:
                    now = carray(at_int64(tensor), {words.dtype} + 1)
                    same = now[{words.storage}] == seen[which, i, 1] and now[{words.dims}] == dims
                    same = same and now[{words.offset}] == seen[which, i, 2] and now[{words.dtype}] == seen[which, i, 3]
                    for d in range(dims):
                        if now[{words.sizes} + d] != shape[first + d] or now[{words.strides} + d] != stride[first + d]:
                            same = False
                    if same:
                        storage = carray(at_int64(now[{words.storage}]), {words.data} + {data_words})
                        for k in range({data_words}):
                            if storage[{words.data} + k] != seen[which, i, 4 + k]:
                                same = False
                        if same:
                            continue
            if call_int(fill, one, table[{view}]) != 0:
                call_void(clear, 0)
                table[{missing}] = {changed}
                return
            same = view[1] == {cpu} and view[2] == expected[which, i] and view[5] == 0
            if which != 1:
                same = same and view[0] == address[which, i]
            else:
                same = same and (view[0] != 0 or numel[i] == 0)
            if same:
                shape_now, stride_now = carray(at_int64(view[3]), dims), carray(at_int64(view[4]), dims)
                for d in range(dims):
                    n = shape[first + d]
                    if shape_now[d] != n or (stride_now[d] != stride[first + d] and n > 1 and numel[i] > 1):
                        same = False
            if not same:
                table[{missing}] = {changed}
                return
            address[which, i] = view[0]
            if which != 1 and words > 0 and dims <= {words.most_dims}:
                now = carray(at_int64(tensor), {words.dtype} + 1)
                seen[which, i, 0], seen[which, i, 1] = tensor, now[{words.storage}]
                seen[which, i, 2], seen[which, i, 3] = now[{words.offset}], now[{words.dtype}]
                storage = carray(at_int64(now[{words.storage}]), {words.data} + {data_words})
                for k in range({data_words}):
                    seen[which, i, 4 + k] = storage[{words.data} + k]
"""
_ARRAYS = {
    "tensors_of": "(buffers, params)",
    "held": "params",
    "view": "6",
    "address": "(buffers, params)",
    "expected": "(buffers, params)",
    "first_dim": "params + 1",
    "shape": "first_dim[params]",
    "stride": "first_dim[params]",
    "numel": "params",
    "seen": f"(buffers, params, {_SEEN})",
}


def _source() -> str:
    names = [name for name, *_ in _GatherTable._fields_]
    lines = [
        f"    {name} = carray(at_int64(table[{i}]), {_ARRAYS[name]})" if name in _ARRAYS else f"    {name} = table[{i}]"
        for i, name in enumerate(names)
        if name != "missing"
    ]
    words = tensor_words() or TensorWords(*[0] * len(TensorWords._fields))
    places = {name: names.index(name) for name in ("missing", "view")}
    text = {"size": len(names), "fields": "\n".join(lines), "changed": _CHANGED, "cpu": _CPU}
    return _SOURCE.format(**text, **places, words=words, data_words=DATA_WORDS)


@cache
def _exchange() -> int:
    """The address of torch's function that fills a DLTensor; 0 if there is none, or objects lie otherwise here."""
    # The loop reads the class of an object where CPython's builds with a GIL have it.
    if platform.python_implementation() != "CPython" or object.__basicsize__ != 16:
        return 0
    return fill_dltensor()


def sees_signs() -> bool:
    """Whether the loop sees that elements are to be read with the other sign, which torch's function does not say."""
    return tensor_words() is not None


def _function(name: str) -> int:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def _kind(tensor: Tensor, dtype: torch.dtype) -> int:
    """Number of dimensions and dtype, as the third word of a DLTensor has them."""
    code = 4 if dtype is torch.bfloat16 else 2
    return tensor.dim() | (code | dtype.itemsize * 8 << 8 | 1 << 16) << 32


class GatherLoop:
    """The loop over the tensors of one batch.

    Args:
        params: real CPU tensors.
        states: the states of each, in the order of the rows of ``addresses``.
        addresses: int64, a row each for parameters, gradients and states. Those of the gradients are written.
        grad_dtype: the dtype that gradients must have.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        states: Sequence[Sequence[Tensor]],
        addresses: np.ndarray,
        grad_dtype: torch.dtype,
    ) -> None:
        # Alive as long as their addresses are used; a gradient is asked for by its parameter.
        self._tensors = [[p, p, *kept] for p, kept in zip(params, states, strict=True)]
        dims = [0, *np.cumsum([p.dim() for p in params]).tolist()]
        kinds = [[_kind(t, grad_dtype if row == 1 else t.dtype) for row, t in enumerate(ts)] for ts in self._tensors]
        self._arrays = {
            "tensors_of": np.array([[id(t) for t in ts] for ts in self._tensors], dtype=np.int64).T.copy(),
            "held": np.zeros(len(params), dtype=np.int64),
            "view": np.zeros(6, dtype=np.int64),
            "address": addresses,
            "expected": np.array(kinds, dtype=np.int64).T.copy(),
            "first_dim": np.array(dims, dtype=np.int64),
            "shape": np.array([n for p in params for n in p.shape] or [0], dtype=np.int64),
            "stride": np.array([n for p in params for n in p.stride()] or [0], dtype=np.int64),
            "numel": np.array([p.numel() for p in params], dtype=np.int64),
            "seen": np.zeros((len(addresses), len(params), _SEEN), dtype=np.int64),
        }
        self._table = _GatherTable(
            params=len(params),
            buffers=len(addresses),
            words=tensor_words() is not None,
            fill=_exchange(),
            get=_function("PyObject_GetAttr"),
            free=_function("Py_DecRef"),
            clear=_function("PyErr_Clear"),
            name=id(_GRAD),
            none=id(None),
            kind=id(Tensor),
            **{name: array.ctypes.data for name, array in self._arrays.items()},
        )
        self._task = ctypes.addressof(self._table)
        self._code = compile_kernel(_source())  # lives as long as it may be called
        self._call = self._code.with_gil

    def __call__(self) -> int:
        """Read the gradients' addresses; how many are None, or -1 if anything is not as it was."""
        self._call(self._task)
        return self._table.missing

    def present(self) -> np.ndarray:
        """Which parameters have a gradient."""
        return self._arrays["held"] != id(None)

    def release(self) -> None:
        """Let go of the gradients."""
        self._table.release = 1
        self._call(self._task)
        self._table.release = 0

    def __del__(self) -> None:
        if hasattr(self, "_call"):
            self.release()


_GRAD = "grad"


def gather_loop(
    params: Sequence[Tensor], states: Sequence[Sequence[Tensor]], addresses: np.ndarray, grad_dtype: torch.dtype
) -> GatherLoop | None:
    """The loop for these tensors; None where it cannot be had."""
    if not _exchange() or grad_dtype.is_complex or any(p.is_complex() for p in params):
        return None
    return GatherLoop(params, states, addresses, grad_dtype)
