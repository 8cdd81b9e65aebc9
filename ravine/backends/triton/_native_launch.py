"""Launches a compiled kernel by one call of C, where Triton's own launcher takes some 6 us for what the driver does in 2.

The arguments that stay are written once, into memory that the driver's ``cuLaunchKernel`` reads. Like the loop over tensors
(``_native_gather.py``), the function is compiled as Triton compiles its launchers, and kept in the same folder. Where a kernel
needs more than a plain launch, or something is missing, ``native_launch`` gives None, and Triton launches.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends.triton._triton_folder import kept_privately

#: What an argument is to the C function; other types are left to Triton.
_INTEGER, _REAL = 0, 1
_KINDS = {"i32": _INTEGER, "i64": _INTEGER, "fp64": _REAL}
#: Arguments that one launch can have, the two of Triton's own among them.
_MOST = 192
#: What a kernel may have that a plain launch does not give it, by Triton's names, and what it then is.
_PLAIN = {"num_ctas": 1, "launch_cooperative_grid": False, "launch_pdl": False}
_NO_MEMORY = ("global_scratch_size", "profile_scratch_size")

_SOURCE = r"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef int (*Launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);

enum { ENTRY, FUNCTION, X, Y, Z, THREADS, SHARED, FIXED, COUNT, VALUES };

static PyObject *data_ptr;

/* launch(description, stream, ...): what comes after the stream are the arguments after the fixed ones.
 *
 * description: the address of 64-bit integers: the driver's function, the kernel, the grid, threads, bytes of shared memory,
 * how many arguments are fixed and how many there are; then the value of each argument; then 1 for each that is a double.
 * Gives what the driver gives: 0, or the number of an error.
 */
static PyObject *launch(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    if (given < 2) {
        PyErr_SetString(PyExc_TypeError, "launch takes a description and a stream");
        return NULL;
    }
    const int64_t *about = (const int64_t *)(intptr_t)PyLong_AsLongLong(args[0]);
    void *stream = (void *)(intptr_t)PyLong_AsLongLong(args[1]);
    if (PyErr_Occurred()) return NULL;
    int64_t count = about[COUNT], fixed = about[FIXED];
    if (count > MOST - 2 || given - 2 != count - fixed) {
        PyErr_Format(PyExc_TypeError, "a kernel of %lld arguments was given %zd after %lld", count, given - 2, fixed);
        return NULL;
    }
    if (about[X] * about[Y] * about[Z] == 0) return PyLong_FromLong(0);
    int64_t values[MOST];
    void *places[MOST];
    const int64_t *real = about + VALUES + count;
    memcpy(values, about + VALUES, count * sizeof(int64_t));
    for (int64_t i = fixed; i < count; i++) {
        PyObject *one = args[2 + i - fixed];
        if (real[i]) {
            double number = PyFloat_AsDouble(one);
            memcpy(values + i, &number, sizeof(double));
        } else if (PyLong_Check(one)) {
            values[i] = PyLong_AsLongLong(one);
        } else {
            PyObject *address = PyObject_CallMethodNoArgs(one, data_ptr);
            if (address == NULL) return NULL;
            values[i] = PyLong_AsLongLong(address);
            Py_DECREF(address);
        }
    }
    if (PyErr_Occurred()) return NULL;
    /* Triton adds two addresses of memory to every kernel, which these do not use. */
    values[count] = values[count + 1] = 0;
    for (int64_t i = 0; i < count + 2; i++) places[i] = values + i;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = ((Launch)(intptr_t)about[ENTRY])((void *)(intptr_t)about[FUNCTION], (unsigned)about[X], (unsigned)about[Y],
        (unsigned)about[Z], (unsigned)about[THREADS], 1, 1, (unsigned)about[SHARED], stream, places, NULL);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
    {"launch", (PyCFunction)(void (*)(void))launch, METH_FASTCALL, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ravine_launch", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_ravine_launch(void)
{
    data_ptr = PyUnicode_InternFromString("data_ptr");
    return data_ptr == NULL ? NULL : PyModule_Create(&module);
}
""".replace("MOST", str(_MOST))


@cache
def _launch() -> Callable[..., int] | None:
    """The compiled function; None where there is no compiler, or others can write to Triton's folder."""
    if not kept_privately():
        return None
    try:
        from triton.runtime.build import compile_module_from_src

        made: Callable[..., int] = compile_module_from_src(src=_SOURCE, name="ravine_launch").launch
        return made
    except Exception:  # without it Triton does the same, more slowly
        return None


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
    if len(types) > _MOST - 2 or not all(t.startswith("*") or t in _KINDS for t in types):
        return None
    about, own = compiled.metadata, compiled.run
    if any(getattr(about, name, usual) != usual for name, usual in _PLAIN.items()):
        return None
    # An older or newer Triton without one of these names launches itself.
    if any(getattr(about, name, 1) for name in _NO_MEMORY) or getattr(own, "gsan_enabled", False):
        return None
    launch, entry = _launch(), _entry()
    return NativeLaunch(launch, entry, compiled, types) if launch is not None and entry else None
