"""Compiles the text of a kernel with LLVM, once per process and, through the cache, once per machine."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

from ravine.backends.cpu import _cache as kept
from ravine.backends.cpu._threads import Runner
from ravine.errors import BackendError

_ENTRY = "ravine_kernel"
#: Functions of the C library that machine code may call.
_LIBM = tuple(f"{name}{kind}" for name in ("exp", "exp2", "log", "pow", "tanh", "floor", "sqrt") for kind in ("", "f"))


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


_parsing = Lock()  # Python 3.11's ast counts how deep it is for all threads together, and fails where two parse
_failed: dict[str, str] = {}  # texts that could not be compiled, and why: not tried again


@cache
def compile_kernel(source: str) -> Runner:
    """The kernel of that text, ready to be called.

    Raises:
        BackendError: it cannot be compiled here.
    """
    if source in _failed:
        raise BackendError(_failed[source])
    what = "llvmlite cannot be loaded"
    try:
        _llvm()
        what = "llvmlite cannot compile a kernel"
        return _kernel(source)
    except Exception as error:  # a library that does not fit this machine raises OSError, among others
        _failed[source] = f"no kernel can be had: {what} ({type(error).__name__}: {error})"
        raise BackendError(_failed[source]) from error


def _kernel(source: str) -> Runner:
    llvm = _llvm()
    key = kept.key(source, _processor())
    code = kept.load(key)
    if code is None:
        code = _machine_code(source)
        kept.save(key, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    # What is not found would be called at address 0. The first engine of a process makes the C library known.
    for name in _LIBM:
        if f"{name}\0".encode() in code and not llvm.address_of_symbol(name):
            raise OSError(f"the C library has no {name}")
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Runner(engine.get_function_address(_ENTRY), engine)


def _machine_code(source: str) -> bytes:
    """The object file of a kernel's text."""
    from ravine.backends.cpu._llvm_text import llvm_text

    with _parsing:
        text = llvm_text(source, _ENTRY)
    module = optimized(text)
    code: bytes = _target_machine().emit_object(module)
    return code


def assembly(source: str) -> str:
    """What a kernel's text becomes on this processor, to be read."""
    from ravine.backends.cpu._llvm_text import llvm_text

    text: str = _target_machine().emit_assembly(optimized(llvm_text(source, _ENTRY)))
    return text


def optimized(text: str) -> Any:
    """LLVM's module of a text in its language, with loops as vector code for this processor."""
    llvm = _llvm()
    machine = _target_machine()
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module
