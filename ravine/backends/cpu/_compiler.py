"""Compiles the text of a kernel with numba, once per process and, through the cache, once per machine.

numba gives optimised LLVM code; llvmlite makes machine code of it, which is kept, and loads it. So a run that
finds its kernels in the cache never imports numba.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from ravine.backends.cpu import _cache as kept
from ravine.backends.cpu._threads import Runner
from ravine.errors import BackendError

# A product and the sum that it goes into may be rounded once, as one instruction; everything else is exact.
# Sums over elements may be reordered, and say so themselves (``add_square``).
_FASTMATH = {"contract"}
_ENTRY = "ravine_kernel"
_SCALAR = ("sqrt", "exp", "log", "tanh")  # functions of the language that math has
_CONSTANTS = ("inf", "nan")


def compiled() -> int:
    """How many kernels this process has compiled or loaded from the cache."""
    return compile_kernel.cache_info().currsize


@cache
def _llvm() -> Any:
    """llvmlite's binding, ready to make code for this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _target_machine() -> Any:
    llvm = _llvm()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


@cache
def _processor() -> str:
    llvm = _llvm()
    return f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


@cache
def has_float16() -> bool:
    """Whether this processor converts float16 by itself (else a kernel would call a function that is not there)."""
    try:
        processor = _processor()
    except Exception:
        return True  # nothing can be compiled at all, which is said where that is tried
    return "+f16c" in processor or "aarch64" in processor or "arm64" in processor


@cache
def _why_no_compiler() -> str:
    """Why nothing can be compiled here, in words; empty if something can."""
    try:
        import numba
    except Exception as error:  # what it raises where NumPy is too new for it is not only ImportError
        return f"numba cannot be imported ({type(error).__name__}: {error})"
    return "NUMBA_DISABLE_JIT is set, so numba compiles nothing" if getattr(numba.config, "DISABLE_JIT", False) else ""


_failed: dict[str, str] = {}  # texts that could not be compiled, and why: not tried again


@cache
def compile_kernel(source: str) -> Runner:
    """The kernel of that text, ready to be called.

    Raises:
        BackendError: it cannot be compiled here.
    """
    if source in _failed:
        raise BackendError(_failed[source])
    try:
        return _kernel(source)
    except Exception as error:
        why = _why_no_compiler() or f"numba cannot compile a kernel ({type(error).__name__}: {error})"
        _failed[source] = f"no kernel can be had: {why}"
        raise BackendError(_failed[source]) from error


def _kernel(source: str) -> Runner:
    key = kept.key(source, _processor())
    code = kept.load(key)
    if code is None:
        if why := _why_no_compiler():
            raise ImportError(why)
        with _without_collector():
            function = _compile(source)
            code = _machine_code(function.inspect_llvm())
        if code is None:
            return Runner(function.address, function)
        kept.save(key, code)
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Runner(engine.get_function_address(_ENTRY), engine)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's search for cycles waits: among the many objects that numba makes it takes an eighth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _compile(source: str) -> Any:
    """numba's compiled C function of a kernel's text."""
    import numba
    from numba import types

    from ravine.backends.cpu import _intrinsics as intrinsics

    scope = {
        **{name: value for name, value in vars(intrinsics).items() if not name.startswith("_")},
        "carray": numba.carray,
        "float32": numba.float32,
        "float64": numba.float64,
        **{name: getattr(math, name) for name in (*_SCALAR, *_CONSTANTS)},
    }
    exec(compile(source, "<kernel>", "exec"), scope)
    # numpy's error model: a division by zero gives infinity, and the loop has no early exit that stops vectorising.
    return numba.cfunc(types.void(types.int64), fastmath=_FASTMATH, error_model="numpy")(scope["kernel"])


def _machine_code(text: str) -> bytes | None:
    """Machine code of numba's LLVM text with nothing in it but the kernel; None if it needs more than libm.

    numba's own entry reports exceptions to Python and needs numba loaded. A kernel raises none, so it gets an
    entry that calls the loop and returns.
    """
    llvm = _llvm()
    names = [f.name for f in llvm.parse_assembly(text).functions if not f.is_declaration]
    loops = [n for n in names if "kernel" in n and not n.startswith("cfunc.")]
    if len(loops) != 1:
        return None
    entry = (
        f"\ndefine void @{_ENTRY}(i64 %task) {{\n  %unused = alloca ptr\n"
        f'  %status = call i32 @"{loops[0]}"(ptr %unused, ptr %unused, i64 %task)\n  ret void\n}}\n'
    )
    module = llvm.parse_assembly(text + entry)
    for item in (*module.functions, *module.global_variables):
        if not item.is_declaration and item.name != _ENTRY:
            item.linkage = "internal"
    options = llvm.create_pipeline_tuning_options(speed_level=0)
    builder = llvm.create_pass_builder(_target_machine(), options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)
    needed = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    known = {f"{name}{suffix}" for name in (*_SCALAR, "pow") for suffix in ("", "f")}
    if not known.issuperset(needed):
        return None
    code: bytes = _target_machine().emit_object(module)
    return code
