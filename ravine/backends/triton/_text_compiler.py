"""Compiles the text of a kernel with Triton, for the device at hand or for one that is not there.

Triton keeps machine code in its own folder (``TRITON_CACHE_DIR``), so that a later process compiles nothing.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import re
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends.triton._pass_text import KernelText


def interpreted() -> bool:
    """Whether Triton interprets kernels on the host, as its own switch says."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _function(text: str) -> Any:
    """The kernel of a text, and its helpers, as Triton's functions; inspect finds their lines through linecache."""
    import triton

    from ravine.backends.triton import _language

    name = f"<ravine kernel {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    text = re.sub(r"^def ", "@jit\ndef ", text, flags=re.M)
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    scope = {**_language.scope(interpreted()), "jit": triton.jit, "__name__": "ravine_kernels"}
    exec(compile(text, name, "exec"), scope)
    return scope["kernel"]


class InterpretedKernel:
    """A kernel that Triton interprets; its arguments are tensors and whole numbers."""

    def __init__(self, source: KernelText) -> None:
        self._kernel = _function(source.text)

    def launch(self, grid: tuple[int, int, int], stream: int, *arguments: Any) -> None:
        with np.errstate(all="ignore"):
            self._kernel[grid](*arguments)


class DeviceKernel:
    """A kernel on one device, launched by Triton's low-level function, which costs 2 us and not 15."""

    def __init__(self, source: KernelText) -> None:
        self._compiled = compile_for(source, None)
        self._run = self._compiled.run  # loads it on the current device
        self._function, self._metadata = self._compiled.function, self._compiled.packed_metadata

    def launch(self, grid: tuple[int, int, int], stream: int, *arguments: Any) -> None:
        plain = [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]
        self._run(*grid, stream, self._function, self._metadata, None, None, None, *plain)


Kernel = InterpretedKernel | DeviceKernel


def compile_for(source: KernelText, target: Any) -> Any:
    """Triton's compiled kernel for a ``GPUTarget``; None is the current device."""
    import triton
    from triton.compiler import ASTSource

    # No argument is specialised: neither a count nor a rate compiles anything anew.
    made = ASTSource(_function(source.text), dict(source.signature), {}, {})
    return triton.compile(made, target=target, options={"num_warps": source.warps, "enable_fp_fusion": True})


@cache
def kernel(source: KernelText, device: torch.device) -> Kernel:
    """The kernel of a text on a device, compiled once per process."""
    if device.type == "cpu":
        return InterpretedKernel(source)
    with torch.cuda.device(device):
        return DeviceKernel(source)


def compiled_on_devices() -> int:
    """How many kernels this process has compiled or loaded."""
    return kernel.cache_info().currsize
