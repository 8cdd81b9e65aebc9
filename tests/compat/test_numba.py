"""What Ravine needs of numba's private parts is there and does what it is needed for."""

from __future__ import annotations

import ctypes
import math

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from numba import types

from ravine._compat import numba as compat
from ravine.backends.cpu import _compiler as compiler
from ravine.backends.cpu._intrinsics import at_float64, at_int64, minimum


def kernel(task):
    table = at_int64(task)
    x = at_float64(table[0])
    n = table[1]
    for i in range(n):
        if x[i] < 0:
            continue
        x[i] = 1 / math.sqrt(x[i]) if i % 2 == 0 else minimum(x[i] * 3 + 1, 10.0)


START = np.array([4.0, 2.0, 0.0, 7.0, -1.0, -2.0, 1e300, 1e300])


def called(address):
    """What the function at an address makes of the numbers."""
    x = START.copy()
    table = np.array([x.ctypes.data, len(x)])
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)(table.ctypes.data)
    return x


def test_the_text_is_that_of_the_function_that_numba_makes():
    """Branches, a function of its own, and a division by zero."""
    whole = numba.cfunc(types.void(types.int64), fastmath=compiler._FASTMATH, error_model="numpy")(kernel)
    code = compiler._machine_code(compat.llvm_text(kernel, compiler._FASTMATH))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), compiler._target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    ours = called(engine.get_function_address(compiler._ENTRY))
    assert np.array_equal(ours, called(whole.address))
    assert np.array_equal(ours, [0.5, 7.0, np.inf, 10.0, -1.0, -2.0, 1e-150, 10.0])


@pytest.mark.parametrize(("switch", "printed"), [("DUMP_OPTIMIZED", "define "), ("DUMP_ASSEMBLY", ".section")])
def test_numbas_switches_print_code(switch, printed, monkeypatch, capsys):
    """CONTRIBUTING.md names them."""
    monkeypatch.setattr(numba.config, switch, 1)
    compat.llvm_text(kernel, compiler._FASTMATH)
    out = capsys.readouterr().out
    assert printed in out
    assert "kernel" in out
