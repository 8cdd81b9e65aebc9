"""The Triton backend: a program as one kernel that steps all tensors of a batch on a GPU; nothing waits for the device.

_pass_text.py      prints a pass of a program as a kernel; _kernel_text.py what all kernels have in common
_stage_text.py     the kernels around them: numbers, sums of chunks, addresses
_language.py       what a kernel calls; _interpreted.py the same in Triton's interpreter
_text_compiler.py  compiles and launches them
_chunk_tables.py   the tables of addresses and chunks that they work from
_native_gather.py  looks at the tensors of a batch in C
_device_gather.py  the same, and what it does where there is no C compiler
_temporaries.py    what functions of whole tensors are given, and give
_device_batch.py   the batch
_tile_text.py, _tile_batch.py  the same for formulas with values of rows and columns
_device_check.py   which devices and tensors it can take

The interpreter runs the same kernels on tensors of the CPU, which tests need; nothing else uses it.
"""

from ravine.backends.triton._device_batch import DeviceBatch
from ravine.backends.triton._device_check import kernels_wanted, missing, why_no_kernel
from ravine.backends.triton._tile_batch import MatrixDeviceBatch

__all__ = ["DeviceBatch", "MatrixDeviceBatch", "kernels_wanted", "missing", "why_no_kernel"]


def __dir__() -> list[str]:
    return __all__
