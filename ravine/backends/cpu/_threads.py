"""Runs a compiled kernel on several threads: on torch's own, so that there is one pool and not two that compete.

torch's operations run on an OpenMP pool. A second pool in the same process, such as another library's, has its threads
wait while torch's still spin; it also cannot be called from two threads at once, or after a fork. So a kernel is
handed to the OpenMP runtime that torch has loaded. Where none can be found it runs on threads of Python's.
"""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

_Kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64)
_WithGil = ctypes.PYFUNCTYPE(None, ctypes.c_int64)
_forked = False  # in a child of fork the pool's threads do not exist: run alone
_LARGE = 1 << 20  # elements from which it pays to wake a thread of Python's
#: How many chunks a thread takes at a time at most, and how many times each takes some, so that all end at about the same time.
_MOST_AT_ONCE, _TIMES = 32, 16
#: From so many whole chunks on a thread takes several at a time, where it is alone.
SEVERAL = 2 * _TIMES


def _after_fork() -> None:
    global _forked
    _forked = True
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def _openmp() -> Any:
    """``GOMP_parallel`` of the OpenMP runtime in this process (GNU's, LLVM's and Intel's all have it), or None."""
    folder = Path(torch.__file__).parent
    names: list[str | None] = [None] if os.name == "posix" else []
    names += [
        str(f) for place in ("lib", ".dylibs", "../torch.libs") for f in sorted((folder / place).glob("lib*omp*"))
    ]
    for name in names:
        try:
            call = ctypes.CDLL(name).GOMP_parallel
        except (OSError, AttributeError):
            continue
        call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        call.restype = None
        return call
    return None


def chunks_at_once(whole: int) -> int:
    """How many neighbouring chunks a thread takes at a time, of so many whole ones: a processor reads ahead where reading goes on."""
    return min(_MOST_AT_ONCE, max(1, whole // (_TIMES * torch.get_num_threads())))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="ravine")


class Runner:
    """A kernel at an address of compiled code, ready to be called on the address of its table."""

    def __init__(self, code: int, owner: object = None) -> None:
        self.code = code
        self._owner = owner  # the code lives as long as the object that compiled it
        self._alone = _Kernel(code)
        self._together = _openmp()

    @property
    def with_gil(self) -> Any:
        """The code as a function that keeps the interpreter's lock, for what touches Python's objects."""
        return _WithGil(self.code)

    def __call__(self, task: int, elements: int, chunks: int) -> None:
        """Run over ``chunks`` chunks of ``elements`` elements in all, on at most torch's number of threads."""
        # Below two full chunks' worth of elements, waking a thread costs more than it saves.
        threads = 1 if chunks < 2 or _forked else min(torch.get_num_threads(), chunks, 1 + elements // 32768)
        if threads == 1:
            self._alone(task)
        elif self._together is not None:
            self._together(self.code, task, threads, 0)
        elif elements < _LARGE:
            self._alone(task)
        else:
            waiting = [_pool(threads).submit(self._alone, task) for _ in range(threads - 1)]
            self._alone(task)
            for future in waiting:
                future.result()
