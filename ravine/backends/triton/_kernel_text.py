"""What the texts of kernels have in common: their types, arguments, tables of addresses, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ravine.backends import STATISTICS
from ravine.formula import Program
from ravine.formula._operations import FULL, Kind
from ravine.formula._symbols import Symbol

#: The statistics that a kernel gives for each chunk; whether a tensor was stepped is known without it.
CHUNK_STATISTICS = STATISTICS[:-1]
#: Vectors are 16 bytes where every address allows it.
ALIGNED = 16
#: Which of a tensor's addresses do not: that of its gradient, its own, that of a state.
GRAD, PARAM, STATE = 1, 2, 4

#: Below this the squares of float32 begin to lose digits, and a chunk's sum of them is wrong in the last.
TINY, LEAST = 1e-15, 1e-33
#: The dtypes of buffers, as Triton names them.
KINDS = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}


class KernelText(NamedTuple):
    """A kernel to be compiled: its text, whose function is ``kernel``, its argument types, and its options."""

    text: str
    signature: tuple[tuple[str, str], ...]
    warps: int = 4


BATCH_SIGNATURE = (
    *(("place", "*i64"), ("first_chunk", "*i64"), ("size", "*i64"), ("address", "*i64")),
    *(("numbers", "*fp64"), ("figures", "*fp64"), ("skip", "*u8")),
    *(("tensors", "i32"), ("chunks", "i32")),
)


def address_rows(program: Program) -> dict[str, int]:
    """The rows of a batch's table of addresses: what is laid out as a parameter, and lives longer than a step."""
    states = [name for name in program.states if program.axes(name) == FULL]
    return {name: row for row, name in enumerate(("param", "grad", *states))}


def temporaries_of(program: Program, index: int) -> list[str]:
    """The temporaries that a pass uses."""
    p = program.passes[index]
    return [name for name in program.temporaries if name in p.reads or name in p.writes]


def temporary_arguments(program: Program, index: int) -> tuple[tuple[str, str], ...]:
    """What a pass's kernel is given of temporaries: where in their memory each tensor is, and where that begins."""
    if not program.temporaries:
        return ()
    return ("offset", "*i64"), *((f"memory{i}", "i64") for i in range(len(temporaries_of(program, index))))


def block(lines: Sequence[str], depth: int = 1) -> str:
    return "\n".join("    " * depth + line for line in lines or ["pass"])


def kind_of(dtype: torch.dtype) -> str:
    return f"tl.{str(dtype)[6:]}"


def constant_text(real: str, value: float) -> str:
    text = repr(value)
    return f"tl.full([], {text if text[-1] not in 'fn' else f'float({text!r})'}, {real})"


def number_line(symbol: Symbol, name: str, text: str, real: str) -> str:
    """The line that takes a number of a pass; the key of random bits has 32 of them, more than a float32 holds."""
    if symbol.truth:
        return f"{name} = {text} != 0"
    return f"{name} = {text}" if symbol.op == "mixed" else f"{name} = {text}.to({real})"


def figure(value: str, kind: Kind) -> str:
    """What is added up, or compared, of a value."""
    of = f"({value}) * ({value})" if kind == "squares" else value
    inside = f"tl.where(inside, {of}, 0.0)"
    return f"magnitude({inside})" if kind == "amax" else inside
