"""Looks at every parameter, gradient and state in one C loop, in place of some ten calls of Python for each.

torch gives the address, shape, strides, dtype and device of a tensor through a C function (DLPack's exchange API, torch
2.10 or newer). Triton compiles its own launcher with a C compiler; the loop is compiled in the same way and kept in the
same folder. Where one of them is missing, ``native_gather`` gives None and the batch looks at its tensors in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine._compat.torch import fill_dltensor
from ravine.backends.triton._triton_folder import kept_privately

#: DLPack's numbers of devices.
_CPU, _CUDA, _ROCM = 1, 2, 10

_SOURCE = r"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    void *data;
    int64_t device;              /* kind, and index in the upper half */
    int64_t kind;                /* dimensions, and dtype in the upper half */
    int64_t *shape, *stride;
    uint64_t offset;
} View;
typedef int (*Fill)(PyObject *, View *);

static PyObject *grad;

/* Whether a tensor is what it was: all but its address. */
static int same(const View *view, int64_t device, int64_t kind, const int64_t *shape, const int64_t *stride, int64_t count)
{
    if (view->device != device || view->kind != kind || view->offset != 0) return 0;
    int dims = (int)(kind & 0x7fffffff);
    for (int d = 0; d < dims; d++) {
        if (view->shape[d] != shape[d]) return 0;
        if (view->stride[d] != stride[d] && shape[d] > 1 && count > 1) return 0;
    }
    return 1;
}

/* look(tensors, plain, fill, device, address, kind, first, shape, stride, count)
 *
 * tensors: a tuple of the parameters, then the first state of each, and so on. plain: the class of gradients. All others
 * are addresses, of arrays of 64-bit integers: address and kind have a row for parameters, one for gradients, one for each
 * state. Gives 2 for every gradient that is None, and 1 more if the address of a gradient is new; -1 if anything else is.
 */
static PyObject *look(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 10 || !PyTuple_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "look takes a tuple and nine more arguments");
        return NULL;
    }
    int64_t given[8];
    for (int i = 0; i < 8; i++) {
        given[i] = PyLong_AsLongLong(args[i + 2]);
        if (given[i] == -1 && PyErr_Occurred()) return NULL;
    }
    Fill fill = (Fill)(intptr_t)given[0];
    int64_t device = given[1], *address = (int64_t *)(intptr_t)given[2];
    const int64_t *kind = (const int64_t *)(intptr_t)given[3], *first = (const int64_t *)(intptr_t)given[4];
    const int64_t *shape = (const int64_t *)(intptr_t)given[5], *stride = (const int64_t *)(intptr_t)given[6];
    const int64_t *numel = (const int64_t *)(intptr_t)given[7];
    PyObject *tensors = args[0];
    /* first ends with the number of dimensions of all parameters, and after that the number of parameters */
    Py_ssize_t n = (Py_ssize_t)first[-1], rows = PyTuple_GET_SIZE(tensors) / n + 1;
    long answer = 0;
    View view;
    for (Py_ssize_t row = 0; row < rows; row++) {
        for (Py_ssize_t i = 0; i < n; i++) {
            int64_t *at = address + row * n + i;
            PyObject *one;
            if (row == 1) {
                one = PyObject_GetAttr(PyTuple_GET_ITEM(tensors, i), grad);
                if (one == NULL) return NULL;
                if (one == Py_None) {
                    Py_DECREF(one);
                    if (*at != 0) answer |= 1;
                    *at = 0;
                    answer += 2;
                    continue;
                }
                if ((PyObject *)Py_TYPE(one) != args[1]) {
                    Py_DECREF(one);
                    return PyLong_FromLong(-1);
                }
            } else {
                one = PyTuple_GET_ITEM(tensors, row > 1 ? (row - 1) * n + i : i);
                Py_INCREF(one);
            }
            int failed = fill(one, &view);
            Py_DECREF(one); /* its parameter, or the tuple, holds it */
            if (failed) {
                PyErr_Clear();
                return PyLong_FromLong(-1);
            }
            int64_t now = (int64_t)(intptr_t)view.data;
            if (!same(&view, device, kind[row * n + i], shape + first[i], stride + first[i], numel[i]))
                return PyLong_FromLong(-1);
            if (row == 1) {
                if (now == 0) return PyLong_FromLong(-1);
                if (*at != now) answer |= 1;
                *at = now;
            } else if (*at != now) {
                return PyLong_FromLong(-1);
            }
        }
    }
    return PyLong_FromLong(answer);
}

static PyMethodDef methods[] = {{"look", (PyCFunction)(void (*)(void))look, METH_FASTCALL, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ravine_gather", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_ravine_gather(void)
{
    grad = PyUnicode_InternFromString("grad");
    return grad == NULL ? NULL : PyModule_Create(&module);
}
"""


@cache
def _look() -> Callable[..., int] | None:
    """The compiled function; None where there is no compiler, or others can write to Triton's folder."""
    if not kept_privately():
        return None
    try:
        from triton.runtime.build import compile_module_from_src

        made: Callable[..., int] = compile_module_from_src(src=_SOURCE, name="ravine_gather").look
        return made
    except Exception:  # without it the batch does the same, more slowly
        return None


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
        self._arrays = [addresses, *(np.array(values, dtype=np.int64) for values in lists)]  # alive as their addresses
        pointers = [array.ctypes.data for array in self._arrays]
        pointers[2] += 8  # the number of parameters stands before the first
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
    look: Any = _look()
    return None if look is None else NativeGather(look, params, states, addresses, grad_dtype)
