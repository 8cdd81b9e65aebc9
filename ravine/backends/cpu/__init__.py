"""The numba backend: a program as one compiled loop over memory, for tensors on the CPU.

kernel.py      prints a pass of a program as a kernel
intrinsics.py  what a kernel calls
compiler.py    compiles it; cache.py keeps it between runs
threads.py     runs it on torch's threads
batch.py       the tables of addresses that it works on
"""

from ravine.backends.cpu._batch import Fused, why_not
from ravine.backends.cpu._compiler import compiled
from ravine.backends.cpu._kernel import CHUNK, kernel_source

__all__ = ["CHUNK", "Fused", "compiled", "kernel_source", "why_not"]
