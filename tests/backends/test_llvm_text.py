"""The text of a kernel means what Python makes of it: compiled, it does to memory what the interpreter does."""

from __future__ import annotations

import ctypes
import math
import os
import textwrap

import numpy as np
import pytest
import torch
from forked import run_forked
from torch.nn import Parameter

from ravine.backends.cpu import _compiler as compiler
from ravine.backends.cpu import kernel_source
from ravine.backends.cpu._llvm_text import llvm_text
from ravine.errors import BackendError
from ravine.optim._registry import classes

SIZE = 40


def in_python(body, table):
    """Run a text by Python, on arrays at the addresses of a table of integers."""

    def carray(pointer, shape):
        kind, address = pointer
        count = int(np.prod(shape))
        flat = np.ctypeslib.as_array(ctypes.cast(int(address), ctypes.POINTER(kind)), (count,))
        return flat.reshape(shape)

    scope = {
        "carray": carray,
        "at_int64": lambda a: (ctypes.c_int64, a),
        "at_float32": lambda a: (ctypes.c_float, a),
        "at_float64": lambda a: (ctypes.c_double, a),
        "float32": np.float32,
        "float64": np.float64,
        "where": lambda c, a, b: a if c else b,
        "logical_not": lambda a: not a,
        "minimum": np.minimum,
        "maximum": np.maximum,
        "isfinite": np.isfinite,
        "isnan": np.isnan,
        "sign": np.sign,
        "add_value": lambda a, b: a + b,
        "add_square": lambda a, b: a + b * b,
        **{name: getattr(np, name) for name in ("sqrt", "exp", "log", "tanh", "floor", "inf", "nan")},
    }
    exec(text_of(body), scope)
    with np.errstate(all="ignore"):
        scope["kernel"](table.ctypes.data)


def text_of(body):
    head = f"""
    def kernel(task):
        table = carray(at_int64(task), 4)
        x = carray(at_float32(table[0]), {SIZE})
        y = carray(at_float64(table[1]), ({SIZE // 4}, 4))
        k = carray(at_int64(table[2]), {SIZE})
    """
    return textwrap.dedent(head) + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n"


def arrays():
    """Arrays of numbers, special ones among them, and the table of their addresses."""
    random = np.random.default_rng(7)
    x = random.standard_normal(SIZE).astype(np.float32)
    x[:6] = 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40
    y = np.exp(random.standard_normal((SIZE // 4, 4)) * 5)
    k = random.integers(-9, 9, SIZE)
    return (x, y, k), np.array([x.ctypes.data, y.ctypes.data, k.ctypes.data, 3], dtype=np.int64)


TEXTS = {
    "each element": """
        for i in range(40):
            x[i] = x[i] * float32(2.0) - float32(1.0) / (x[i] + float32(0.5))
    """,
    "a float and a double are doubles": """
        y[0, 0] = x[39] * 1.1 + k[3]
    """,
    "a range from a first": """
        for i in range(table[3], 17):
            k[i] = i * k[i] - 2
    """,
    "nothing in a range": """
        for i in range(table[3], 2):
            k[i] = 99
    """,
    "rows and columns": """
        for i in range(10):
            total = 0.0
            for j in range(4):
                total = add_value(total, y[i, j])
            for j in range(4):
                y[i, j] = y[i, j] / total
    """,
    "what is not looked at": """
        i = 100000000000
        found = 0
        if i < 40 and k[i] == 3:
            found = 1
        if i >= 40 or k[i] == 3:
            found += 2
        k[0] = found
    """,
    "while, continue and break": """
        i = 0
        while True:
            i += 1
            if i >= 39:
                break
            if k[i] < 0:
                k[i] = 1
                continue
            if k[i] == 5:
                k[i] += 10
            else:
                k[i] -= 1
    """,
    "an early end": """
        for i in range(40):
            if k[i] > 3:
                k[i] = 1000
                return
            k[i] = 0
    """,
    "comparisons of NaN and infinity": """
        for i in range(40):
            less, equal = x[i] < x[39], x[i] == x[i]
            k[i] = (1 if less else 0) + (2 if equal else 0) + (4 if x[i] != x[39] else 0) + (8 if not less else 0)
    """,
    "truth values": """
        for i in range(40):
            k[i] = 1 if (isfinite(x[i]) & (x[i] > 0.0)) | isnan(x[i]) else 0
    """,
    "functions": """
        for i in range(40):
            v = abs(x[i])
            x[i] = where(v > float32(1.0), sqrt(v), floor(v)) + minimum(v, float32(0.3)) - maximum(v, x[39]) + sign(x[i])
    """,
    "functions of libm": """
        for i in range(10):
            for j in range(4):
                y[i, j] = exp(-y[i, j]) + log(y[i, j]) + tanh(y[i, j]) + y[i, j] ** 0.25
    """,
    "negative numbers": """
        for i in range(40):
            k[i] = -k[i]
            x[i] = -x[i]
    """,
}


@pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS)
def test_compiled_text_does_what_python_does(body):
    (expected, by_python), (given, table) = arrays(), arrays()
    in_python(body, by_python)
    compiler.compile_kernel(text_of(body))._alone(table.ctypes.data)
    for ours, python in zip(given, expected, strict=True):
        np.testing.assert_allclose(ours, python, rtol=1e-6)


REFUSED = {
    "while k[0] > 0:\n    k[0] = 0": "may not have 'while",
    "k[0] = open(3)": "may not have 'open",
    "k[0] = missing": "has no missing",
    "k[0] = x[1]": "has float where i64 is meant",
    "v = 1\nv = x[0]": "v of a kernel's text was i64 and becomes float",
    "k[0] = task[1]": "task of a kernel's text is no array",
    "k[0] = k[1] % 2": "only sums, differences, products, quotients and shifts of integers",
    "k[0] = x": "x of a kernel's text is no number",
    "import os": "may not have 'import os",
    "for i in range(0, 8, 2):\n    k[i] = 1": "may not have 'for i in range",
    "for i in range(3):\n    k[i] = 1\nelse:\n    k[0] = 2": "may not have 'for i in range",
    "k[0] = abs(x=k[1])": "may not have 'abs",
}


@pytest.mark.parametrize(("body", "message"), REFUSED.items())
def test_other_text_is_refused(body, message):
    with pytest.raises(TypeError, match=message.replace("(", r"\(")):
        llvm_text(text_of(body), "entry")


@pytest.mark.parametrize("watch", [False, True])
@pytest.mark.parametrize("cls", classes())
def test_the_loop_over_elements_is_vector_code(cls, watch):
    """Functions that only libm has are called for each element; all else is done for several at once."""
    program = cls([Parameter(torch.ones(4, 4))]).program()
    dtypes = dict.fromkeys(program.buffers, torch.float32)
    if program.along or program.temporaries:
        pytest.skip("kernels of matrices")
    for i in range(len(program.passes)):
        text = str(compiler.optimized(llvm_text(kernel_source(program, i, dtypes, watch), "entry")))
        assert "x float>" in text


def test_numbers_are_rounded_to_what_a_float_holds():
    """A decimal number of a formula is the nearest float32, whatever the digits; beyond the largest it is infinite."""
    values = [0.1, 1e-45, 3.4e38, -1e-3, math.pi]
    lines = [f"x[{i}] = float32({v!r})" for i, v in enumerate(values)] + ["x[5] = float32(inf)"]
    given, table = arrays()
    compiler.compile_kernel(text_of("\n".join(lines)))._alone(table.ctypes.data)
    assert given[0][:6].tolist() == [*np.array(values, dtype=np.float32).tolist(), math.inf]


def test_a_function_that_the_c_library_lacks_is_said_and_not_called(monkeypatch, tmp_path):
    monkeypatch.setenv("RAVINE_CACHE_DIR", str(tmp_path))
    body = "for i in range(40):\n    x[i] = tanh(x[i])"
    binding = compiler._llvm()
    monkeypatch.setattr(binding, "address_of_symbol", lambda name: None if name == "tanhf" else 1)
    with pytest.raises(BackendError, match="the C library has no tanhf"):
        compiler.compile_kernel.__wrapped__(text_of(body))


def test_a_kernel_that_calls_the_c_library_may_be_the_first_of_a_process(tmp_path):
    """Nothing of that library is known before LLVM has made something that runs."""
    text = """
        import torch
        from ravine.formula import exp, tanh
        from ravine.optim import Optimizer

        def descend(param, *, grad, lr):
            return param - lr * tanh(grad) * exp(-grad)

        p = torch.nn.Parameter(torch.zeros(3))
        p.grad = torch.ones(3)
        Optimizer([p], [descend], lr=1.0, fused=True).step()
        print(p[0].item())
    """
    done = run_forked(["-c", textwrap.dedent(text)], env={**os.environ, "RAVINE_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(-math.tanh(1) * math.exp(-1), rel=1e-6)
