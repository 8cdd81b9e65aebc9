"""Compiles the text of a kernel with Triton, for the device at hand or for one that is not there.

Triton keeps machine code in its own folder (``TRITON_CACHE_DIR``), so that a later process compiles nothing.
Nothing of this module's own is read from that folder if others can write to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import linecache
import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends.triton._kernel_text import KernelText
from ravine.backends.triton._native_launch import native_launch
from ravine.backends.triton._triton_folder import kept_privately

Grid = tuple[int, int, int]
Launch = Callable[..., None]


def interpreted() -> bool:
    """Whether Triton interprets kernels on the host, as its own switch says."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _function(text: str, amd: bool = False) -> Any:
    """The kernel of a text, and its helpers, as Triton's functions; inspect finds their lines through linecache."""
    import triton

    from ravine.backends.triton import _language

    name = f"<ravine kernel {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    text = re.sub(r"^def ", "@jit\ndef ", text, flags=re.M)
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    scope = {**_language.scope(interpreted(), amd), "jit": triton.jit, "__name__": "ravine_kernels"}
    exec(compile(text, name, "exec"), scope)
    return scope["kernel"]


class InterpretedKernel:
    """A kernel that Triton interprets; its arguments are tensors and whole numbers."""

    def __init__(self, source: KernelText) -> None:
        self._kernel = _function(source.text)

    def bind(self, grid: Grid, *arguments: Any) -> Launch:
        """A launch with these arguments: it is called with the stream, and with what comes after them."""

        def launch(stream: int, *more: Any) -> None:
            with np.errstate(all="ignore"):
                self._kernel[grid](*arguments, *more)

        return launch


class DeviceKernel:
    """A kernel on one device, launched by C (``_native_launch.py``), or by Triton's low-level function, which costs more."""

    def __init__(self, source: KernelText) -> None:
        self._compiled = compile_for(source, None)
        self._run = self._compiled.run  # loads it on the current device
        if limit := needed_registers(self._compiled):
            with contextlib.suppress(Exception):  # the first one works, too
                more = compile_for(source, None, limit)
                run = more.run
                if not getattr(more, "n_spills", 0):
                    self._compiled, self._run = more, run
        self._function, self._metadata = self._compiled.function, self._compiled.packed_metadata
        self._native = native_launch(self._compiled, [kind for _, kind in source.signature])

    def bind(self, grid: Grid, *arguments: Any) -> Launch:
        """As of the interpreted one. Tensors are only their addresses: somebody else keeps them."""
        x, y, z = grid
        run, function, metadata, plain = self._run, self._function, self._metadata, _addresses(arguments)

        def launch(stream: int, *more: Any) -> None:
            run(x, y, z, stream, function, metadata, None, None, None, *plain, *_addresses(more))

        if self._native is None:
            return launch
        native, about = self._native.bind(grid, arguments)
        address = about.ctypes.data

        def quick(stream: int, *more: Any, kept: Any = about) -> None:
            if native(address, stream, *more):  # Triton finds out what is wrong, or puts it right
                launch(stream, *more)

        return quick


def _addresses(arguments: Sequence[Any]) -> list[Any]:
    return [a.data_ptr() if isinstance(a, Tensor) else a for a in arguments]


Kernel = InterpretedKernel | DeviceKernel


#: Registers of a thread with which a multiprocessor holds 32 warps, and 16: no kernel here runs the slower for them.
_LIMITS = (64, 128)


def needed_registers(compiled: Any) -> int:
    """How many a thread is to be given of a kernel that spilled although there are registers; 0: it did not, or there are none.

    NVIDIA's assembler then saved some for warps that do not come.
    """
    if getattr(compiled.metadata.target, "backend", "") != "cuda" or not getattr(compiled, "n_spills", 0):
        return 0
    return limit_above(getattr(compiled, "n_regs", 0))


def limit_above(registers: int) -> int:
    """The next limit above a number of registers; 0: there is none."""
    return next((limit for limit in _LIMITS if 0 < registers < limit), 0)


def compile_for(source: KernelText, target: Any, registers: int = 0) -> Any:
    """Triton's compiled kernel for a ``GPUTarget``; None is the current device.

    With ``registers``, which NVIDIA's assembler knows, a thread may have so many, and gets them where it needs them.
    """
    import triton

    target = target or triton.runtime.driver.active.get_current_target()
    options = {"num_warps": source.warps, "enable_fp_fusion": True}
    if registers:
        options["maxnreg"] = registers
    key = _short_key(source, target, options)
    # No argument is specialised: neither a count nor a rate compiles anything anew.
    made = triton.compiler.ASTSource(_function(source.text, target.backend == "hip"), dict(source.signature), {}, {})
    private = kept_privately()
    compiled = _kept(key, made) if private else None
    if compiled is None:
        compiled = triton.compile(made, target=target, options=options)
        if private:
            with contextlib.suppress(OSError):
                triton.runtime.cache.get_cache_manager(key).put(compiled.hash, _KEPT_AS, binary=False)
    return compiled


# To find a kernel that it has kept, Triton reads all of itself, some hundred megabytes: 0.3 to 1 s of a first step.
# Here that is a file beside the kernels, which says under which hash Triton keeps one.

_KEPT_AS = "ravine_kernel.txt"


def _short_key(source: KernelText, target: Any, options: dict[str, Any]) -> str:
    """A hash of what a compiled kernel depends on: the text, what it calls, options, Triton as installed, its switches."""
    import triton
    from triton._C import libtriton

    from ravine.backends.triton import _language
    from ravine.formula import _rounding

    files = [Path(module.__file__ or "") for module in (libtriton, triton)]
    parts = [
        *map(
            repr,
            (
                source,
                target,
                options,
                triton.__version__,
                [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files],
            ),
        ),
        *(Path(module.__file__ or "").read_text(encoding="utf-8") for module in (_language, _rounding)),
        *(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("TRITON_", "LLVM_"))),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _kept(key: str, source: Any) -> Any:
    """The kernel that Triton keeps; None if there is none, or it keeps them otherwise."""
    from triton.compiler import CompiledKernel
    from triton.runtime.cache import get_cache_manager

    if os.environ.get("TRITON_ALWAYS_COMPILE", "0") != "0":
        return None
    try:
        path = get_cache_manager(key).get_file(_KEPT_AS)
        if path is None:
            return None
        known = Path(path).read_text(encoding="utf-8")
        if not known.isalnum():  # a hash, and no path to elsewhere
            return None
        group = get_cache_manager(known).get_group(f"{source.name}.json")
        return CompiledKernel(source, group, known) if group else None
    except Exception:  # a file that is gone or damaged, another form of the cache: Triton looks itself
        return None


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
