"""The compiler of numba, and only those parts of it that a kernel needs: three quarters of the time of ``numba.cfunc``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from numba import config, types
from numba.core import compiler, typed_passes, untyped_passes
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.cpu import FastMathOptions
from numba.core.registry import cpu_target


class _KernelCompiler(compiler.CompilerBase):
    """Without the passes for what no kernel has: closures, generators, objects, expressions of whole arrays."""

    def define_pipelines(self) -> list[PassManager]:
        passes = PassManager("kernel")
        for each in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            passes.add_pass(each, each.__name__)
        passes.finalize()
        return [passes]


def llvm_text(function: Callable[[int], None], fastmath: Collection[str]) -> str:
    """The optimised LLVM code of a function of an int64 that returns nothing and raises nothing.

    It is what ``numba.cfunc`` makes with ``error_model="numpy"``, without machine code, which is made again to be kept.
    """
    flags: Any = compiler.Flags()
    # A division by zero gives infinity, and the loop has no early exit that would stop it from becoming vector code.
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(set(fastmath))
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    with global_compiler_lock:
        library = compiler.compile_extra(
            cpu_target.typing_context, cpu_target.target_context, function, (types.int64,), types.void, flags, {},
            pipeline_class=_KernelCompiler,
        ).library  # fmt: skip
        if getattr(config, "DUMP_OPTIMIZED", 0) or getattr(config, "DUMP_ASSEMBLY", 0):
            library.finalize()  # with machine code, and prints what was asked for
        else:  # the same without
            for other in dict.fromkeys(library._linking_libraries):
                library._final_module.link_in(other._get_module_for_linking(), preserve=True)
            library._optimize_final_module()
        text: str = library.get_llvm_str()
    return text
