"""Prints a pass of a program as a kernel: Python text that LLVM compiles to one loop over memory.

A kernel is called once for all tensors of a batch, by every thread. Each call takes chunks of 16,384 elements
from a shared counter until there are none left. What it works on stands in a ``Launch``, whose address is its only
argument.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence

import torch

from ravine.backends import STATISTICS, compute_dtype
from ravine.backends._eight_bits import BLOCK, SIGNED, SQUARES, is_code
from ravine.backends._layout import keeps_all
from ravine.backends.cpu._kernel_rounding import in_first_chunk, rounding_lines
from ravine.formula import Program
from ravine.formula._compensation import watched
from ravine.formula._program import Reduction
from ravine.formula._python import Statements, code_name
from ravine.formula._rounding import as_stored
from ravine.formula._symbols import Symbol

#: Elements in a chunk: 64 KiB of float32, so that a few buffers of it fit in a core's cache.
CHUNK = 16384
#: The statistics that a kernel gives for each chunk; whether a tensor was stepped is known without it.
CHUNK_STATISTICS = STATISTICS[:-1]
_ROW = {s.name: i for i, s in enumerate(CHUNK_STATISTICS)}


class Launch(ctypes.Structure):
    """What a kernel works on: one 64-bit integer for each field. ``next_chunk`` is shared by the threads."""

    _fields_ = (
        ("next_chunk", ctypes.c_int64),
        ("chunks", ctypes.c_int64),
        ("together", ctypes.c_int64),  # so many chunks a thread takes at a time
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
ARRAYS: Mapping[str, tuple[str, str]] = {
    "tensor_of": ("int64", "chunks"),
    "start": ("int64", "chunks"),
    "count": ("int64", "chunks"),
    "address": ("int64", "({buffers}, tensors)"),
    "numbers": ("float64", "({numbers}, rows)"),
    "sums": ("float64", "({sums}, chunks)"),
    "watch": ("float64", "({statistics}, chunks)"),
}

#: Below this the squares of float32 begin to lose digits, and a chunk's sum of them is wrong in the last.
_TINY, LEAST = 1e-15, 1e-33
POINTER = {
    torch.float32: "at_float32", torch.float64: "at_float64", torch.bfloat16: "at_uint16", torch.float16: "at_uint16",
    SIGNED: "at_uint8", SQUARES: "at_uint8",
}  # fmt: skip
# Codes aside, bytes are those of a parameter's compensation.
_LOAD = {
    torch.bfloat16: "from_bfloat16({})", torch.float16: "from_float16({})",
    torch.int8: "float32({})",
}  # fmt: skip
_STORE = {
    torch.bfloat16: "to_bfloat16({})", torch.float16: "to_float16({})",
    torch.int8: "to_int8({})",
}  # fmt: skip

_HEAD = """\
def kernel(task):
    launch = carray(at_int64(task), {size})
{fields}
    while True:
        taken = take_next(task) * together
        if taken >= chunks:
            break
        for chunk in range(taken, min(taken + together, chunks)):
            tensor = tensor_of[chunk]
            if address[1, tensor] == 0:  # no gradient in this step
                continue
            row = tensor if rows > 1 else 0
            first, n = start[chunk], count[chunk]
"""


def kernel_text(
    table: type[ctypes.Structure], arrays: Mapping[str, tuple[str, str]], body: Sequence[str], **sizes: int
) -> str:
    """A kernel: the fields of its table under their names, and the lines that it does for each chunk."""
    lines = []
    for i, (name, *_) in enumerate(table._fields_):
        if name in arrays:
            kind, shape = arrays[name]
            lines.append(f"    {name} = carray(at_{kind}(launch[{i}]), {shape.format(**sizes)})")
        elif name != "next_chunk":
            lines.append(f"    {name} = launch[{i}]")
    head = _HEAD.format(size=len(table._fields_), fields="\n".join(lines))
    return head + "".join(f"            {line}\n" for line in body)


def supported(dtype: torch.dtype) -> bool:
    """Whether a kernel can hold tensors of this (real) dtype."""
    return dtype in POINTER and not is_code(dtype)


def coded(program: Program, dtypes: Mapping[str, torch.dtype]) -> list[str]:
    """The states that are codes of 8 bits.

    The addresses of their scales stand below those of all buffers, and below these how long the blocks of a tensor are.
    """
    return [name for name in program.states if is_code(dtypes[name], name)]


def table_rows(program: Program, dtypes: Mapping[str, torch.dtype]) -> int:
    """How many rows the table of addresses has."""
    codes = len(coded(program, dtypes))
    return len(program.buffers) + codes + (codes > 0)


_CODE = {SIGNED: "signed", SQUARES: "squares"}


def kernel_source(
    program: Program,
    index: int,
    dtypes: Mapping[str, torch.dtype],
    watch: bool = False,
    brief: bool = False,
    of_rows: bool = False,
) -> str:
    """The text of the kernel of pass ``index``, for the given dtype of each buffer.

    With ``watch`` the pass that writes also gives the statistics of each chunk; those of the gradients' sums of squares and of
    what is not finite only, if it is ``brief``, and none of rounding, if its tensors are ``of_rows`` of a sparse gradient.
    A formula's names end with an underscore (``code_name``), so no other name here may; ``_array`` and ``_new`` are the endings
    of buffers.
    """
    p = program.passes[index]
    watch = watch and "param" in p.writes
    real = "float64" if compute_dtype(list(dtypes.values())) is torch.float64 else "float32"
    reads = [*p.reads, *(b for b in ("param", "grad") if watch and b not in p.reads)]
    lines = []  # before the loop over a chunk's elements, in it, and after it
    for i, (symbol, name) in enumerate(zip(p.numbers, p.number_names, strict=True)):
        text = f"numbers[{i}, row]"
        lines.append(number_line(symbol, name, text, real))
    for row, b in enumerate(program.buffers):
        if b in reads or b in p.writes:
            at = f"{POINTER[dtypes[b]]}(address[{row}, tensor] + {dtypes[b].itemsize} * first)"
            lines.append(f"{code_name(b)}_array = carray({at}, n)")
    element = {b: load(dtypes[b], f"{code_name(b)}_array[i]") for b in reads}
    in_codes = [b for b in coded(program, dtypes) if b in reads or b in p.writes]
    for b in in_codes:
        row = len(program.buffers) + coded(program, dtypes).index(b)
        lines.append(f"{code_name(b)}_scales = carray(at_float32(address[{row}, tensor]), n)")
        element[b] = f"from_{_CODE[dtypes[b]]}({code_name(b)}_array[i], {code_name(b)}_scale)"
    loop = [f"{code_name(b)} = {element[b]}" for b in reads]
    # Constants have the type that the loop computes in, so that nothing is widened.
    results = as_stored(p.results, p.writes, lambda b: keeps_all(dtypes[b]))
    made_of = dict(zip(p.writes, results[len(p.reductions) :], strict=True))
    written_symbols = dict(made_of)
    for b in [b for b in made_of if dtypes[b] is SQUARES]:  # a code keeps the root
        made_of[b] = Symbol(f"root_of_{made_of[b].op}", made_of[b].args)
    seen = watched(list(made_of.values())) if watch and not brief else []
    body = Statements(
        [*results[: len(p.reductions)], *made_of.values(), *seen],
        p.leaves(),
        [*[""] * len(p.reductions), *(f"{code_name(b)}_new" for b in p.writes), *["whole_new", "whole"][: len(seen)]],
        constant=lambda value: f"{real}({value!r})",
        place="random_at",
    )
    loop += body.lines
    after: list[str] = []
    summed, written = body.results[: len(p.reductions)], body.results[len(p.reductions) :][: len(p.writes)]
    computed = list(loop)
    stored: dict[str, str] = {}
    if p.writes:
        values = dict(zip(p.writes, written, strict=True))
        for b in [b for b in values if b not in in_codes]:
            exact = made_of[b].op.startswith("bfloat16_") or made_of[b].op == "high_of"  # it was rounded to that
            value = f"upper_half({values[b]})" if exact else store(dtypes[b], f"{real}({values[b]})")
            loop.append(f"{code_name(b)}_array[i] = {value}")
            stored[b] = value
        for b in [b for b in in_codes if b in values]:
            loop.append(f"{code_name(b)}_kept[j] = float32({values[b]})")
            loop.append(f"{code_name(b)}_top = larger({code_name(b)}_top, magnitude(float32({values[b]})))")
        if watch and brief:
            before, inside, after = watching_gradients(real, element["grad"])
        elif watch:
            before, inside, after = watching(
                real, moved(dtypes, stored["param"], real, body.results[-2:] if seen else ()), element["grad"]
            )
        if watch:
            lines += before
            loop += inside
    if p.reductions:
        codes = {code_name(b): _CODE[dtypes[b]] for b in in_codes}
        before, inside, after = _summing(real, summed, p.reductions, lambda more: _loop([*computed, *more], codes))
        lines += before
        loop += inside
    at_random = any("random_at" in line for line in loop)
    if at_random:
        loop = [*loop, "random_at = next_random(random_at)"]
        lines.append("random_at = first_random(first)")
    if in_codes:
        lines.append(f"longest = address[{table_rows(program, dtypes) - 1}, tensor]  # of a block")
    kinds, written_codes = {code_name(b): _CODE[dtypes[b]] for b in in_codes}, [code_name(b) for b in p.writes]
    whole = _loop(loop, kinds, written_codes, at_random)
    cost: list[str] = []
    if watch and not brief and not of_rows:
        elements = {b: load(dtypes[b], f"{code_name(b)}_array[i]") for b in [*reads, *p.writes]} | element

        def held(b: str, value: str) -> str:
            return load(dtypes[b], store(dtypes[b], value))

        lines_of_cost = rounding_lines(written_symbols, p.leaves(), reads, elements, held, dtypes, real)
        cost = in_first_chunk(lines_of_cost, lambda inside: _loop(inside, kinds, count="looked_at"))
    return kernel_text(
        Launch,
        ARRAYS,
        [*lines, *cost, *whole, *after],
        buffers=table_rows(program, dtypes),
        numbers=max(1, len(p.numbers)),
        sums=max(1, len(p.reductions)),
        statistics=len(CHUNK_STATISTICS),
    )


def _loop(
    loop: Sequence[str],
    kinds: Mapping[str, str],
    written: Sequence[str] = (),
    at_random: bool = False,
    count: str = "n",
) -> list[str]:
    """A loop over so many elements of a chunk; where there are codes block by block, with the new ones of each behind it."""
    if not kinds:
        return [f"for i in range({count}):", *(f"    {line}" for line in loop)]
    new = [b for b in kinds if b in written]  # they are made when the scale of a block is known
    lines = [f"{b}_kept = scratch({BLOCK})" for b in new]
    lines += [f"for block in range(({count} + longest - 1) // longest):", "    begin = block * longest"]
    inner = [f"size, place = min(longest, {count} - begin), (first + begin) // longest"]
    inner += [f"{b}_scale = {b}_scales[place]" for b in kinds]
    inner += [f"{b}_top = magnitude(float32(0))" for b in new]
    inner += ["random_at = first_random(first + begin)"] * at_random
    inner += ["for j in range(size):", "    i = begin + j", *(f"    {line}" for line in loop)]
    for b in new:
        inner += [
            f"if {b}_top >= {0x7F800000}:  # something is not finite",
            f"    {b}_top = magnitude(float32(0))",
            "    for j in range(size):",
            f"        {b}_kept[j] = finite_or_zero({b}_kept[j])",
            f"        {b}_top = larger({b}_top, magnitude({b}_kept[j]))",
            f"{b}_scale = scale_of({b}_top)",
            f"{b}_scales[place] = {b}_scale",
            f"{b}_inverse = inverse({b}_scale)",
        ]
    if new:
        inner += ["for j in range(size):"]
        inner += [f"    {b}_array[begin + j] = to_{kinds[b]}({b}_kept[j], {b}_inverse)" for b in new]
    return lines + [f"    {line}" for line in inner]


def number_line(symbol: Symbol, name: str, text: str, real: str) -> str:
    """The line that takes a number of a pass; the key of random bits has 32 of them, more than a float32 holds."""
    if symbol.truth:
        return f"{name} = {text} != 0.0"
    return f"{name} = {text}" if symbol.op == "mixed" else f"{name} = {real}({text})"


def load(dtype: torch.dtype, stored: str) -> str:
    """The value of what a tensor holds."""
    return _LOAD.get(dtype, "{}").format(stored)


def store(dtype: torch.dtype, value: str) -> str:
    """What a tensor of that dtype holds of a value."""
    return _STORE.get(dtype, "{}").format(value)


def _summing(
    real: str, values: Sequence[str], reductions: Sequence[Reduction], again_over: Callable[[list[str]], list[str]]
) -> tuple[list[str], list[str], list[str]]:
    """The lines before, in and after the loop that sum values or their squares, or keep the largest magnitude.

    Sums that float32 cannot hold, because they or squares are too large or squares too small, are made once more in
    double precision; ``again_over`` gives the loop that computes the values, with some more lines.
    """
    add = [{"squares": "add_square", "sum": "add_value", "amax": "larger"}[reduction.kind] for reduction in reductions]
    top = [reduction.kind == "amax" for reduction in reductions]
    before = [f"total{i} = {f'magnitude({real}(0))' if top[i] else f'{real}(0)'}" for i in range(len(values))]
    inside = [
        f"total{i} = {add[i]}(total{i}, {f'magnitude({real}({value}))' if top[i] else value})"
        for i, value in enumerate(values)
    ]
    after = [f"sums[{i}, chunk] = {f'from_magnitude(total{i})' if top[i] else f'total{i}'}" for i in range(len(values))]
    again = [i for i, r in enumerate(reductions) if real == "float32" and not r.guard and r.kind != "amax"]
    if again:
        fine = [f"{f'{LEAST} < total{i} and ' * (reductions[i].kind == 'squares')}isfinite(total{i})" for i in again]
        after.append(f"if not ({' and '.join(fine)}):")
        after += [f"    wide{i} = 0.0" for i in again]
        over = again_over([f"wide{i} = {add[i]}(wide{i}, float64({values[i]}))" for i in again])
        after += [f"    {line}" for line in over]
        after += [f"    sums[{i}, chunk] = wide{i}" for i in again]
    return before, inside, after


def moved(dtypes: Mapping[str, torch.dtype], stored: str, real: str, whole: Sequence[str]) -> tuple[str, str]:
    """The parameter before a step, and what the step added; ``whole``: with its compensation, after and before it."""
    if whole:
        after, before = whole
        return before, f"{after} - {before}"
    return "param", f"{real}({load(dtypes['param'], stored)}) - param"


def watching(real: str, param: tuple[str, str], grad: str) -> tuple[list[str], list[str], list[str]]:
    """The lines before, in and after the loop that give a chunk's statistics.

    Magnitudes are compared as integers, the bits of a float without its sign, of which NaN is the largest: comparing
    floats would not become vector code where NaN counts. Only if the sum of squares of the gradient is not finite, or
    its elements are too small for float32, a second loop counts the elements that are not finite and sums in double
    precision.
    """
    what = {"grad": f"{real}(grad)", "param": f"{real}({param[0]})", "update": "moved"}
    before, after = [], []
    inside = [f"moved = {real}({param[1]})"]
    for name, value in what.items():
        before += [f"{name}_square = {real}(0)", f"{name}_top = magnitude({real}(0))"]
        inside += [
            f"{name}_square = add_square({name}_square, {value})",
            f"{name}_top = larger({name}_top, magnitude({value}))",
        ]
        after += [
            f"watch[{_ROW[f'{name}_square']}, chunk] = {name}_square",
            f"watch[{_ROW[f'{name}_max']}, chunk] = from_magnitude({name}_top)",
        ]
    after += ["top = from_magnitude(grad_top)", *_again(f"top < {_TINY} and top > 0.0", grad)]
    return before, inside, after


def watching_gradients(real: str, grad: str) -> tuple[list[str], list[str], list[str]]:
    """The lines of ``watching`` that give the sum of squares of a chunk's gradients, and how many are not finite.

    The largest element is not known: gradients may be too small for float32 where the sum is no more than that of a chunk of
    the smallest that are not.
    """
    before, inside = [f"grad_square = {real}(0)"], [f"grad_square = add_square(grad_square, {real}(grad))"]
    after = [f"watch[{_ROW['grad_square']}, chunk] = grad_square"]
    return before, inside, after + _again(f"grad_square < {CHUNK * _TINY**2}", grad)


def _again(small: str, grad: str) -> list[str]:
    """The lines after the loop that look at a chunk's gradients once more, if they are ``small`` or not all finite."""
    return [
        "nonfinite = 0",
        f"if not isfinite(grad_square) or ({small}):",
        "    wide = 0.0",
        "    for i in range(n):",
        f"        one = float64({grad})",
        "        nonfinite += 0 if isfinite(one) else 1",
        "        wide = add_square(wide, one)",
        f"    watch[{_ROW['grad_square']}, chunk] = wide",
        f"watch[{_ROW['nonfinite']}, chunk] = nonfinite",
    ]
