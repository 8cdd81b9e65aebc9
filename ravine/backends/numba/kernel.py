"""Prints a pass of a program as a kernel: Python text that numba compiles to one loop over memory.

A kernel is called once for all tensors of a batch, by every thread. Each call takes chunks of 16,384 elements
from a shared counter until there are none left. What it works on stands in a table of 64-bit integers whose
address is its only argument; ``TASK`` names the entries.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ravine.backends import compute_dtype
from ravine.formula import Program
from ravine.formula.printer import Statements

#: Elements in a chunk: 64 KiB of float32, so that a few buffers of it fit in a core's cache.
CHUNK = 16384
#: The entries of the table that a kernel is given. ``next_chunk`` is shared by the threads; the rest is read only.
TASK = (
    "next_chunk",
    "chunks",
    "tensors",
    "rows",
    "tensor_of",
    "start",
    "count",
    "address",
    "numbers",
    "sums",
)

_ITEMSIZE = {torch.float32: 4, torch.float64: 8, torch.bfloat16: 2, torch.float16: 2}
_POINTER = {
    torch.float32: "at_float32", torch.float64: "at_float64", torch.bfloat16: "at_uint16", torch.float16: "at_uint16",
}  # fmt: skip
_LOAD = {torch.bfloat16: "from_bfloat16({})", torch.float16: "from_float16({})"}
_STORE = {torch.bfloat16: "to_bfloat16({})", torch.float16: "to_float16({})"}

_HEAD = """\
def kernel(task):
    table = carray(at_int64(task), {size})
    chunks, tensors, rows = table[1], table[2], table[3]
    tensor_of = carray(at_int64(table[4]), chunks)
    start = carray(at_int64(table[5]), chunks)
    count = carray(at_int64(table[6]), chunks)
    address = carray(at_int64(table[7]), ({buffers}, tensors))
    numbers = carray(at_float64(table[8]), ({numbers}, rows))
    sums = carray(at_float64(table[9]), ({sums}, chunks))
    while True:
        chunk = take_next(task)
        if chunk >= chunks:
            break
        tensor = tensor_of[chunk]
        if address[1, tensor] == 0:  # no gradient in this step
            continue
        row = tensor if rows > 1 else 0
        first, n = start[chunk], count[chunk]"""


def supported(dtype: torch.dtype) -> bool:
    """Whether a kernel can hold tensors of this (real) dtype."""
    return dtype in _ITEMSIZE


def kernel_source(program: Program, index: int, dtypes: Mapping[str, torch.dtype]) -> str:
    """The text of the kernel of pass ``index``, for the given dtype of each buffer."""
    p = program.passes[index]
    real = "float64" if compute_dtype(list(dtypes.values())) is torch.float64 else "float32"
    used = [b for b in program.buffers if b in p.reads or (p.writes and b in p.names)]
    lines = []
    for i, (symbol, name) in enumerate(zip(p.numbers, p.number_names, strict=True)):
        text = f"numbers[{i}, row]"
        lines.append(f"{name} = {text} != 0.0" if symbol.truth else f"{name} = {real}({text})")
    for b in used:
        i = program.buffers.index(b)
        lines.append(f"{b}_ = carray({_POINTER[dtypes[b]]}(address[{i}, tensor] + {_ITEMSIZE[dtypes[b]]} * first), n)")
    taken = [*TASK, *(f"{b}_" for b in used), "n", "i", "row", "first", "table", "chunk", "kernel"]
    # Constants have the type that the loop computes in, so that nothing is widened.
    results = [f"new_{name}" for name in p.names] if p.writes else [f"x{i}" for i in range(len(p.names))]
    body = Statements(p.results, p.leaves(), taken, results, constant=lambda value: f"{real}({_literal(value)})")
    loop = [f"{b} = {_LOAD.get(dtypes[b], '{}').format(f'{b}_[i]')}" for b in p.reads]
    loop += body.lines
    if p.writes:
        for name, value in zip(p.names, body.results, strict=True):
            loop.append(f"{name}_[i] = {_STORE.get(dtypes[name], '{}').format(f'{real}({value})')}")
    else:
        lines += [f"total{i} = {real}(0)" for i in range(len(p.names))]
        loop += [f"total{i} += {value} * {value}" for i, value in enumerate(body.results)]
    head = _HEAD.format(
        size=len(TASK),
        buffers=len(program.buffers),
        numbers=max(1, len(p.numbers)),
        sums=max(1, len(p.names)),
    )
    result = [head, *(f"        {line}" for line in lines), "        for i in range(n):"]
    result += [f"            {line}" for line in loop]
    if not p.writes:
        result += [f"        sums[{i}, chunk] = total{i}" for i in range(len(p.names))]
    return "\n".join(result) + "\n"


def _literal(value: float) -> str:
    """The value as Python text; infinity and NaN have none of their own."""
    return repr(value) if abs(value) < float("inf") else f"float('{value}')"
