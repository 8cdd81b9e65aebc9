"""The CPU backend: a program as one compiled loop over memory, for dense tensors on the CPU.

_kernel.py      prints a pass of a program as a kernel
_llvm_text.py   translates it to LLVM's language; _llvm_functions.py and _llvm_rounding.py have what it calls
_compiler.py    compiles it; _cache.py keeps it between runs
_threads.py     runs it on torch's threads
_batch.py       the tables of addresses that it works on
_matrix_kernel.py, _matrix_batch.py  the same for formulas with values of rows and columns
_sparse_batch.py  the kernel on the rows of sparse gradients
_record_rows.py adds the figures of a step to a record, compiled
_gather.py      looks at parameters and gradients, compiled
"""

from ravine.backends.cpu._batch import Fused, why_not
from ravine.backends.cpu._compiler import compiled
from ravine.backends.cpu._kernel import CHUNK, kernel_source
from ravine.backends.cpu._matrix_batch import MatrixFused
from ravine.backends.cpu._sparse_batch import SparseFused

__all__ = ["CHUNK", "Fused", "MatrixFused", "SparseFused", "compiled", "kernel_source", "why_not"]


def __dir__() -> list[str]:
    return __all__
