"""Prints a pass of a program as a kernel: Python text that numba compiles to one loop over memory.

A kernel is called once for all tensors of a batch, by every thread. Each call takes chunks of 16,384 elements
from a shared counter until there are none left. What it works on stands in a ``Launch``, whose address is its only
argument.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import torch

from ravine.backends import STATISTICS, compute_dtype
from ravine.formula import Program
from ravine.formula._printer import RESERVED, Statements, signature_name

#: Elements in a chunk: 64 KiB of float32, so that a few buffers of it fit in a core's cache.
CHUNK = 16384
#: The statistics that a kernel gives for each chunk; whether a tensor was stepped is known without it.
CHUNK_STATISTICS = STATISTICS[:-1]


class Launch(ctypes.Structure):
    """What a kernel works on: one 64-bit integer for each field. ``next_chunk`` is shared by the threads."""

    _fields_ = (
        ("next_chunk", ctypes.c_int64),
        ("chunks", ctypes.c_int64),
        ("tensors", ctypes.c_int64),
        ("rows", ctypes.c_int64),  # of numbers: 1, or one for each tensor
        ("tensor_of", ctypes.c_int64),
        ("start", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("address", ctypes.c_int64),
        ("numbers", ctypes.c_int64),
        ("sums", ctypes.c_int64),
        ("watch", ctypes.c_int64),
    )


#: The fields that are addresses: the type of what lies there, and its shape.
_ARRAYS = {
    "tensor_of": ("int64", "chunks"),
    "start": ("int64", "chunks"),
    "count": ("int64", "chunks"),
    "address": ("int64", "({buffers}, tensors)"),
    "numbers": ("float64", "({numbers}, rows)"),
    "sums": ("float64", "({sums}, chunks)"),
    "watch": ("float64", "({statistics}, chunks)"),
}

#: Below this the squares of float32 begin to lose digits.
_TINY = 1e-15
_ITEMSIZE = {torch.float32: 4, torch.float64: 8, torch.bfloat16: 2, torch.float16: 2}
_POINTER = {
    torch.float32: "at_float32", torch.float64: "at_float64", torch.bfloat16: "at_uint16", torch.float16: "at_uint16",
}  # fmt: skip
_LOAD = {torch.bfloat16: "from_bfloat16({})", torch.float16: "from_float16({})"}
_STORE = {torch.bfloat16: "to_bfloat16({})", torch.float16: "to_float16({})"}

_HEAD = """\
def kernel(task):
    launch = carray(at_int64(task), {size})
{fields}
    while True:
        chunk = take_next(task)
        if chunk >= chunks:
            break
        tensor = tensor_of[chunk]
        if address[1, tensor] == 0:  # no gradient in this step
            continue
        row = tensor if rows > 1 else 0
        first, n = start[chunk], count[chunk]"""


def _head(**sizes: int) -> str:
    """The first lines of a kernel: the fields of ``Launch`` under their names, and the next chunk."""
    lines = []
    for i, (name, *_) in enumerate(Launch._fields_):
        if name in _ARRAYS:
            kind, shape = _ARRAYS[name]
            lines.append(f"    {name} = carray(at_{kind}(launch[{i}]), {shape.format(**sizes)})")
        elif name != "next_chunk":
            lines.append(f"    {name} = launch[{i}]")
    return _HEAD.format(size=len(Launch._fields_), fields="\n".join(lines))


def supported(dtype: torch.dtype) -> bool:
    """Whether a kernel can hold tensors of this (real) dtype."""
    return dtype in _ITEMSIZE


def kernel_source(program: Program, index: int, dtypes: Mapping[str, torch.dtype], watch: bool = False) -> str:
    """The text of the kernel of pass ``index``, for the given dtype of each buffer.

    With ``watch`` the pass that writes also gives the figures of each chunk.
    """
    p = program.passes[index]
    watch = watch and "param" in p.writes
    real = "float64" if compute_dtype(list(dtypes.values())) is torch.float64 else "float32"
    reads = [*p.reads, *(b for b in ("param", "grad") if watch and b not in p.reads)]
    used = [b for b in program.buffers if b in reads or b in p.writes]
    lines = []
    for i, (symbol, name) in enumerate(zip(p.numbers, p.number_names, strict=True)):
        text = f"numbers[{i}, row]"
        lines.append(f"{name} = {text} != 0.0" if symbol.truth else f"{name} = {real}({text})")
    code = {b: signature_name(b) for b in program.buffers}
    for b in used:
        at = f"{_POINTER[dtypes[b]]}(address[{program.buffers.index(b)}, tensor] + {_ITEMSIZE[dtypes[b]]} * first)"
        lines.append(f"{code[b]}_ = carray({at}, n)")
    taken = [*RESERVED, *(f"{code[b]}_" for b in used)]
    # Constants have the type that the loop computes in, so that nothing is widened.
    results = [f"new_{code[b]}" for b in p.writes] or [f"x{i}" for i in range(len(p.reductions))]
    body = Statements(p.results, p.leaves(), taken, results, constant=lambda value: f"{real}({_literal(value)})")
    load = {b: _LOAD.get(dtypes[b], "{}").format(f"{code[b]}_[i]") for b in reads}
    loop = [f"{code[b]} = {load[b]}" for b in reads]
    loop += body.lines
    after: list[str] = []
    if p.writes:
        for name, value in zip(p.writes, body.results, strict=True):
            loop.append(f"{code[name]}_[i] = {_STORE.get(dtypes[name], '{}').format(f'{real}({value})')}")
        if watch:
            value = body.results[p.writes.index("param")]
            if dtypes["param"] in _STORE:  # what the tensor holds afterwards, not what was to be stored
                value = _LOAD[dtypes["param"]].format(_STORE[dtypes["param"]].format(f"{real}({value})"))
            before, inside, after = _watching(real, f"{real}({value}) - param", load["grad"])
            lines += before
            loop += inside
    else:
        lines += [f"total{i} = {real}(0)" for i in range(len(p.reductions))]
        loop += [f"total{i} += {value} * {value}" for i, value in enumerate(body.results)]
    head = _head(
        buffers=len(program.buffers),
        numbers=max(1, len(p.numbers)),
        sums=max(1, len(p.reductions)),
        statistics=len(CHUNK_STATISTICS),
    )
    result = [head, *(f"        {line}" for line in lines), "        for i in range(n):"]
    result += [f"            {line}" for line in loop]
    if not p.writes:
        after = [f"sums[{i}, chunk] = total{i}" for i in range(len(p.reductions))]
    result += [f"        {line}" for line in after]
    return "\n".join(result) + "\n"


def _watching(real: str, moved: str, grad: str) -> tuple[list[str], list[str], list[str]]:
    """The lines before, in and after the loop that give a chunk's figures.

    Magnitudes are compared as integers, the bits of a float without its sign: the comparison of floats would not
    become vector code where NaN counts. NaN is the largest. Only where the squares of gradients are not finite, or too
    small for float32, does a loop of its own count those that are not finite and sum in double precision.
    """
    what = {"grad": f"{real}(grad)", "param": f"{real}(param)", "update": "moved"}
    row = {s.name: i for i, s in enumerate(CHUNK_STATISTICS)}
    before, after = [], []
    inside = [f"moved = {real}({moved})"]
    for name, value in what.items():
        before += [f"{name}_square = {real}(0)", f"{name}_top = magnitude({real}(0))"]
        inside += [f"{name}_square += {value} * {value}", f"{name}_top = larger({name}_top, magnitude({value}))"]
        after += [
            f"watch[{row[f'{name}_square']}, chunk] = {name}_square",
            f"watch[{row[f'{name}_max']}, chunk] = from_magnitude({name}_top)",
        ]
    after += [
        "nonfinite = 0",
        "top = from_magnitude(grad_top)",
        f"if not isfinite(grad_square) or (top < {_TINY} and top > 0.0):",
        "    wide = 0.0",
        "    for i in range(n):",
        f"        one = float64({grad})",
        "        nonfinite += 0 if isfinite(one) else 1",
        "        wide += one * one",
        f"    watch[{row['grad_square']}, chunk] = wide",
        f"watch[{row['nonfinite']}, chunk] = nonfinite",
    ]
    return before, inside, after


def _literal(value: float) -> str:
    """The value as Python text; infinity and NaN have none of their own."""
    return repr(value) if abs(value) < float("inf") else f"float('{value}')"
