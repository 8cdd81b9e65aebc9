"""Prints a pass of a program as a Triton kernel: Python text that Triton compiles.

One launch steps all tensors of a batch. A program of the grid takes a chunk of a tensor; tables on the device say which,
and where its buffers are. All texts are printed whole, with their constants: a text is a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import torch

from ravine.backends import compute_dtype
from ravine.backends._layout import keeps_all
from ravine.backends.triton._kernel_text import (
    ALIGNED,
    BATCH_SIGNATURE,
    CHUNK_STATISTICS,
    GRAD,
    LEAST,
    PARAM,
    STATE,
    TINY,
    KernelText,
    address_rows,
    block,
    constant_text,
    figure,
    kind_of,
    number_line,
    temporaries_of,
    temporary_arguments,
)
from ravine.backends.triton._rounding_text import rounding_text
from ravine.formula import Program
from ravine.formula._compensation import watched
from ravine.formula._python import Statements, code_name
from ravine.formula._rounding import as_stored
from ravine.formula._symbols import Symbol


class Watched(Enum):
    """What the pass that writes looks at for the statistics: in brief, of the gradients, how large and whether finite."""

    NOTHING = "nothing"
    GRADIENTS = "gradients"
    EVERYTHING = "everything"


@dataclass(frozen=True)
class Blocks:
    """How a kernel goes through a chunk.

    Attributes:
        size: elements at a time.
        warps: groups of threads that share them.
        align: what addresses are a multiple of, in bytes.
        loose: the buffers whose addresses are not.
    """

    size: int
    warps: int
    align: int
    loose: tuple[str, ...] = ()


def blocks_for(dtypes: Mapping[str, torch.dtype], loose: int = 0, wide_waves: bool = False) -> Blocks:
    """The blocks of a kernel.

    Args:
        dtypes: of every buffer.
        loose: which addresses are no multiple of 16: the sum of GRAD, PARAM and STATE.
        wide_waves: 64 threads in a wave, as AMD's CDNA has them.
    """
    if loose & STATE:  # never where this library made the states
        return Blocks(1024, 4, 1)
    # Threads of 16-byte vectors: twice as many elements of 16 bits.
    size = 2048 if wide_waves and min(d.itemsize for d in dtypes.values()) == 2 else 1024
    return Blocks(size, 4, ALIGNED, tuple(n for bit, n in ((GRAD, "grad"), (PARAM, "param")) if loose & bit))


_PASS = """\
def part({given}, low, n, BLOCK: tl.constexpr):
    at = low + tl.arange(0, BLOCK)
    inside = at < n
{body}
    return ({figures})

{again}
def kernel({arguments}):
    placed = tl.load(place + tl.program_id(0))
    tensor = placed & 0xFFFFFFFF
    first = (placed >> 32) * span
    chunk = tl.load(first_chunk + tensor) + (placed >> 32)
    n = tl.minimum(tl.load(size + tensor) - first, span).to(tl.int32)
    grad_at = tl.load(address + tensors + tensor)
    n = tl.where((grad_at == 0) | (tl.load(skip) != 0), 0, n)  # no gradient, or a step that changes nothing
{before}
    whole = n // 16 * 16  # up to here a mask leaves vectors whole
    for low in range(0, whole, {size}):
        got = part({given}, low, whole, {size})
{inside}
{after}
    if n != whole:
        got = part({given}, whole, n, 16)
{rest}
{put}
"""
_AGAIN = """\
def again({given}, low, n, BLOCK: tl.constexpr):
    at = low + tl.arange(0, BLOCK)
    inside = at < n
{body}
    return ({figures})

"""


def _tuple(values: Sequence[str]) -> str:
    return "".join(f"{value}, " for value in values)


class _PassPrinter:
    """What is printed of one pass."""

    def __init__(
        self, program: Program, index: int, dtypes: Mapping[str, torch.dtype], watch: Watched, blocks: Blocks
    ) -> None:
        self.program, self.index, self.dtypes, self.blocks = program, index, dtypes, blocks
        self.one_pass = p = program.passes[index]
        self.watch = watch is not Watched.NOTHING and "param" in p.writes
        self.in_full = self.watch and watch is Watched.EVERYTHING
        self.real = kind_of(compute_dtype(list(dtypes.values())))
        self.reads = [*p.reads, *(b for b in self._looked_at() if b not in p.reads)]
        self.used = [b for b in program.buffers if b in self.reads or b in p.writes]
        # How many elements of a block a thread holds side by side, or one in each of so many rows.
        rows = max(1, blocks.size // (32 * blocks.warps))
        self.together = 16 // min(dtypes[b].itemsize for b in self.used) if blocks.align == ALIGNED else rows

    def _looked_at(self) -> tuple[str, ...]:
        """The buffers that statistics are made of, beside what the pass writes."""
        return ("param", "grad") if self.in_full else ("grad",) if self.watch else ()

    def at(self, buffer: str) -> str:
        code = code_name(buffer)
        return f"{code}at" if code.endswith("_") or code != buffer else f"{code}_at"

    def written(self) -> dict[str, Symbol]:
        """What the pass writes, by buffer."""
        p = self.one_pass
        return dict(zip(p.writes, p.results[len(p.reductions) :], strict=True))

    def load(self, buffer: str, always: bool = False) -> list[str]:
        """A buffer's elements at ``at``, from its address in the chunk; ``always``: of one that is only written, too."""
        pointer = f"{self.at(buffer)}.to(tl.pointer_type({kind_of(self.dtypes[buffer])}))"
        to = f"{self.at(buffer)}_here"
        align = 1 if buffer in self.blocks.loose else self.blocks.align
        lines = [f"{to} = tl.multiple_of({pointer}, {align}) + at"]
        if buffer in self.reads or always:
            lines.append(f"{code_name(buffer)} = widen(tl.load({to}, mask=inside, other=0.0), {self.real})")
        return lines

    def elements(self) -> tuple[list[str], list[str]]:
        """The lines that compute the pass's results, and the results."""
        p = self.one_pass
        names = [*[""] * len(p.reductions), *(f"{self.at(b)}_new" for b in p.writes)]
        constant = lambda value: constant_text(self.real, value)  # noqa: E731
        calls = {"div", "pow", "cube_root"}
        results = as_stored(p.results, p.writes, lambda b: keeps_all(self.dtypes[b]))
        seen = watched(results) if self.in_full else []
        names += [""] * len(seen)
        made = Statements([*results, *seen], p.leaves(), names, constant=constant, calls=calls, place="first + at")
        self.seen = made.results[len(results) :]
        return made.lines, made.results[: len(results)]

    def numbers(self) -> list[str]:
        p = self.one_pass
        lines = []
        for i, (symbol, name) in enumerate(zip(p.numbers, p.number_names, strict=True)):
            text = f"tl.load(numbers + {i} * tensors + tensor)"
            lines.append(number_line(symbol, name, text, self.real))
        return lines

    def text(self) -> str:
        p = self.one_pass
        first = ["first"] if any(s.op == "mixed" for s in p.numbers) else []  # of what is rounded at random
        given = ", ".join([*map(self.at, self.used), *p.number_names, *first])
        body = [line for b in self.used for line in self.load(b)]
        lines, results = self.elements()
        body += lines
        computed = list(body)
        for b, value in zip(p.writes, results[len(p.reductions) :], strict=True):
            body.append(f"{self.at(b)}_stored = narrow({value}, {kind_of(self.dtypes[b])})")
            body.append(f"tl.store({self.at(b)}_here, {self.at(b)}_stored, mask=inside)")
        figures = [figure(x, r.kind) for x, r in zip(results, p.reductions, strict=False)]
        if self.watch:
            sums, maxima = self._watched(body)
            # In the order of CHUNK_STATISTICS.
            figures = [*sums, *(f"magnitude({x})" for x in maxima)]
        kinds = ["magnitude" if f.startswith("magnitude") else "" for f in figures]
        places = range(len(figures))
        zeros = f"(tl.zeros([{self.blocks.size} // {self.together}], {self.real}))"
        rows, memory = address_rows(self.program), temporaries_of(self.program, self.index)
        before = [f"{self.at(b)} = tl.load(address + {rows[b]} * tensors + tensor)" for b in self.used if b in rows]
        before += [
            f"{self.at(b)} = memory{memory.index(b)} + {self.dtypes[b].itemsize} * tl.load(offset + tensor)"
            for b in self.used
            if b not in rows
        ]
        before += [f"{self.at(b)} += {self.dtypes[b].itemsize} * first" for b in self.used]
        before += self.numbers() + [f"total{i} = {kinds[i]}{zeros}" for i in places]
        again, put = self._again(computed, results, given)
        if self.in_full:
            read = [line for b in self.used for line in self.load(b, always=True)]
            function, lines = rounding_text(self.written(), p.leaves(), read, self.dtypes, self.real, given)
            again, before = f"{again}{function}", before + lines
        within = "within" if self.blocks.align == ALIGNED else "within_rows"
        return _PASS.format(
            arguments=", ".join(name for name, _ in _signature(self.program, self.index)),
            given=given,
            body=block(body),
            figures=_tuple([*(f"{within}({f}, {self.together})" for f in figures), "0"]),
            again=again,
            before=block(before),
            size=self.blocks.size,
            inside=block([f"total{i} = joined(total{i}, got[{i}])" for i in places], 2),
            after=block([f"total{i} = over(total{i}, 0)" for i in places]),
            rest=block([f"total{i} = joined(total{i}, over(got[{i}], 0))" for i in places], 2),
            put=block(put),
        )

    def _watched(self, body: list[str]) -> tuple[list[str], list[str]]:
        """What squares are summed of, and what the largest magnitude is taken of."""
        if not self.in_full:
            return ["grad * grad"], []
        after, before = self.seen or (f"widen({self.at('param')}_stored, {self.real})", "param")
        body.append(f"moved = tl.where(inside, {after} - {before}, 0.0)")
        values = ["grad", before, "moved"]
        return [f"{x} * {x}" for x in values], values

    def _again(self, body: list[str], results: list[str], given: str) -> tuple[str, list[str]]:
        """The function that sums in double precision where squares of float32 are too large or small, and what is put."""
        put = "tl.store(figures + {} * chunks + chunk, {}.to(tl.float64))"
        loop = "    for low in range(0, n, {}):"
        size = self.blocks.size
        if self.watch:
            row = {s.name: i for i, s in enumerate(CHUNK_STATISTICS)}
            # Only of the gradient: the parameter is no longer what it was.
            wide = "grad.to(tl.float64)"
            again = _AGAIN.format(
                given=self.at("grad"),
                body=block(self.load("grad")),
                figures=_tuple([f"tl.sum({wide} * {wide}, 0)", "tl.sum(isfinite(grad).to(tl.int32) ^ 1, 0)"]),
            )
            names = ["grad", "param", "update"] if self.in_full else ["grad"]
            lines = [put.format(row[f"{name}_square"], f"total{i}") for i, name in enumerate(names)]
            small = f"total0 < {TINY * TINY}"  # then so is every element; a sum of 0 may be one of zeros
            if self.in_full:
                lines += [put.format(row[f"{name}_max"], f"value(total{i + 3})") for i, name in enumerate(names)]
                lines.append("top = value(total3)")
                small = f"(top < {TINY}) & (top > 0.0)"
            lines += [
                "nonfinite = tl.zeros([], tl.int32)",
                f"if (isfinite(total0) == 0) | ({small}):",
                "    wide = tl.zeros([], tl.float64)",
                loop.format(size),
                f"        got = again({self.at('grad')}, low, n, {size})",
                "        wide += got[0]",
                "        nonfinite += got[1]",
                f"    {put.format(row['grad_square'], 'wide')}",
                put.format(row["nonfinite"], "nonfinite"),
            ]
            return again, lines
        reductions = self.one_pass.reductions
        lines = [
            put.format(i, f"value(total{i})" if r.kind == "amax" else f"total{i}") for i, r in enumerate(reductions)
        ]
        narrow = self.real == "tl.float32"
        chosen = [i for i, r in enumerate(reductions) if narrow and not r.guard and r.kind != "amax"]
        if not chosen:
            return "", lines
        sums = [f"tl.sum({figure(f'({results[i]}).to(tl.float64)', reductions[i].kind)}, 0)" for i in chosen]
        again = _AGAIN.format(given=given, body=block(body), figures=_tuple([*sums, "0"]))
        large = {i: f"(total{i} > {LEAST}) & " if reductions[i].kind == "squares" else "" for i in chosen}
        fine = " & ".join(f"{large[i]}isfinite(total{i})" for i in chosen)
        lines += [f"if ({fine}) == 0:", *(f"    wide{i} = tl.zeros([], tl.float64)" for i in chosen), loop.format(size)]
        lines += [f"        got = again({given}, low, n, {size})"]
        lines += [f"        wide{i} += got[{k}]" for k, i in enumerate(chosen)]
        lines += [f"    {put.format(i, f'wide{i}')}" for i in chosen]
        return again, lines


def pass_source(
    program: Program, index: int, dtypes: Mapping[str, torch.dtype], watch: Watched, blocks: Blocks
) -> KernelText:
    """The kernel of pass ``index``, for the given dtype of each buffer.

    The pass that writes also gives the statistics of each chunk, those that ``watch`` says. A formula's names end with an underscore,
    or one and a number (``code_name``), so no other name in the text may.
    """
    text = _PassPrinter(program, index, dtypes, watch, blocks).text()
    return KernelText(text, _signature(program, index), blocks.warps)


def _signature(program: Program, index: int) -> tuple[tuple[str, str], ...]:
    return (*BATCH_SIGNATURE, ("span", "i32"), *temporary_arguments(program, index))
