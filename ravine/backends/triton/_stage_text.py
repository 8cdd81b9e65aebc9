"""Prints the small kernels around the passes: the number stage, sums over chunks, and addresses that are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from ravine.backends.triton._kernel_text import KINDS, KernelText, block, constant_text
from ravine.formula import Program

#: Tensors that one program of a number stage works on; figures that one of ``sum_source`` adds at a time.
STAGE_WIDTH, SUM_WIDTH = 128, 2048

_STAGE = """\
{numbers}

def kernel({arguments}):
    tensor = tl.program_id(0) * {width} + tl.arange(0, {width})
    inside = tensor < tensors
    active = tl.load(address + tensors + tensor, mask=inside, other=0) != 0
    count = tl.load(counts + tensor, mask=inside, other=0.0)
    number = tl.maximum(count + active.to(count.dtype), 1.0).to(tl.float64)
{kept}
    made = numbers({given})
{put}
"""


def stage_source(program: Program, index: int, on_device: Sequence[bool], counts: torch.dtype) -> KernelText:
    """The kernel that makes the numbers of a pass from step counts, hyperparameters and sums, for every tensor.

    That of the last pass also raises the counts, brings kept numbers up to date, and notes which tensors are stepped.

    Args:
        program: the program.
        index: which pass.
        on_device: which hyperparameters are tensors on the device.
        counts: the dtype of the step counts.
    """
    known = program.known(index)
    real = "tl.float64"
    signature = [("counts", f"*{KINDS[counts]}"), ("address", "*i64"), ("skip", "*u8")]
    signature += [("table", "*fp64"), ("stepped", "*fp64"), ("tensors", "i32")]
    signature += [(f"kept{i}", "*fp64") for i in range(len(program.kept))]
    last = index == len(program.passes) - 1
    given = ["number"]
    for i, there in enumerate(on_device):
        signature.append((f"hyper{i}", "*fp64" if there else "fp64"))
        given.append(f"tl.load(hyper{i})" if there else f"hyper{i}")
    given += [f"old{i}" for i in range(len(program.kept))]
    for i, reduction in enumerate(known):
        signature.append((f"total{i}", "*fp64"))
        rows = "" if reduction.over != "tensor" else " + tensor, mask=inside, other=0.0"
        given.append(f"tl.load(total{i}{rows})")
    put = [
        f"tl.store(table + {i} * tensors + tensor, {_of_each(f'made[{i}]')}, mask=inside)"
        for i in range(len(program.passes[index].numbers))
    ]
    if last:
        first = len(program.passes[index].numbers)
        put += [
            "go = active & (tl.load(skip) == 0)",
            "tl.store(counts + tensor, count + go.to(count.dtype), mask=inside)",
            "tl.store(stepped + tensor, go.to(tl.float64), mask=inside)",
            *(
                f"tl.store(kept{i} + tensor, {_of_each(f'made[{first + i}]')}, mask=inside & go)"
                for i in range(len(program.kept))
            ),
        ]
    source = program.number_source(index, {"div", "pow"}, lambda value: constant_text(real, value), kept=last)
    if not program.passes[index].numbers and not (last and program.kept):
        source = source.replace("return ()", "return (0, )")
    text = _STAGE.format(
        numbers=source,
        arguments=", ".join(name for name, _ in signature),
        width=STAGE_WIDTH,
        given=", ".join(given),
        kept=block(
            [f"old{i} = tl.load(kept{i} + tensor, mask=inside, other=0.0)" for i in range(len(program.kept))] or [""]
        ),
        put=block(put),
    )
    return KernelText(text, tuple(signature), 4)


def _of_each(value: str) -> str:
    """A number that may be the same for all tensors, as one of each."""
    return f"tl.broadcast_to({value}.to(tl.float64), [{STAGE_WIDTH}])"


_SUM = """\
def kernel(figures, first_chunk, totals, chunks, tensors, figure_rows, total_rows):
    tensor, slot = tl.program_id(0), tl.program_id(1)
    row = tl.arange(0, {rows})[:, None]
    last = tl.load(first_chunk + tensor + 1)
    total = tl.zeros([{rows}, {width}], tl.float64)
    top = magnitude(total)
    here = figures + (slot.to(tl.int64) * figure_rows + row) * chunks
    for first in range(tl.load(first_chunk + tensor), last, {width}):
        at = (first + tl.arange(0, {width}))[None, :]
        x = tl.load(here + at, mask=(at < last) & (row < {used}), other=0.0)
        total += x
        top = joined(top, magnitude(x))
    rows = tl.arange(0, {rows})
    made = tl.where((rows >= {first_top}) & (rows < {last_top}), value(tl.max(top, 1)), tl.sum(total, 1))
    to = totals + (slot.to(tl.int64) * total_rows + rows) * tensors + tensor
    tl.store(to, made, mask=rows < {used})
"""


@cache
def sum_source(rows: int, maxima: Sequence[int] = ()) -> KernelText:
    """The kernel that adds up so many figures over the chunks of each tensor, always in the same order.

    Args:
        rows: how many figures.
        maxima: which of them are largest magnitudes.
    """
    padded = 1 << (rows - 1).bit_length()
    first, last = (min(maxima), max(maxima) + 1) if maxima else (0, 0)
    text = _SUM.format(rows=padded, used=rows, width=SUM_WIDTH // padded, first_top=first, last_top=last)
    counts = [(name, "i32") for name in ("chunks", "tensors", "figure_rows", "total_rows")]
    return KernelText(text, (("figures", "*fp64"), ("first_chunk", "*i64"), ("totals", "*fp64"), *counts), 8)


#: Addresses that one launch of ``poke_source`` writes.
POKED = 64


def poke_source() -> KernelText:
    """The kernel that writes addresses that are its arguments: a graph that is replayed has them with it."""
    names = [f"address{i}" for i in range(POKED)]
    lines = [f"tl.store(table + first + {i}, {name}, mask={i} < count)" for i, name in enumerate(names)]
    text = f"def kernel(table, first, count, {', '.join(names)}):\n{block(lines)}\n"
    counts = (("first", "i32"), ("count", "i32"))
    return KernelText(text, (("table", "*i64"), *counts, *((name, "i64") for name in names)), 1)
