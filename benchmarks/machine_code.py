"""The machine code of every named optimizer's kernels, compiled for GPUs that need not be there.

    python benchmarks/machine_code.py                        a table of all of them
    python benchmarks/machine_code.py --target 90 -o adam    of one optimizer, for one target
    python benchmarks/machine_code.py --in-turn              the kernel that writes, for one dtype and target each
    python benchmarks/machine_code.py --markdown docs/results/triton-machine-code.md

Each optimizer steps with the watch, and again with clip_norm, which reads the gradients once more for their norm. For
each kernel: registers, spilled bytes, and how many loads and stores of the loop are 16 bytes wide. Nothing runs. It ends
with 1 if a kernel is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import chain, cycle, product
from pathlib import Path
from typing import Any

import torch

from ravine.backends._jobs import jobs_of
from ravine.backends.triton._kernel_text import KernelText
from ravine.backends.triton._pass_text import Watched, blocks_for, pass_source
from ravine.backends.triton._stage_text import stage_source, sum_source
from ravine.backends.triton._tile_text import TILES, joined_source, tile_source
from ravine.formula import Program
from ravine.optim import _registry as registry

TARGETS = ("75", "80", "90", "gfx942")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Registers of a thread with which a multiprocessor still holds 16 warps.
MOST_REGISTERS = 128


@dataclass(frozen=True)
class Code:
    """What the compiler made of one kernel.

    Attributes:
        registers: of a thread; on AMD its vector registers.
        spilled: bytes of a thread's stack; on AMD registers that were spilled.
        wide: loads and stores of 16 bytes.
        needed: how many there are in the loop at least, if all of them are so wide.
        accesses: how many there are of each instruction.
    """

    optimizer: str
    dtype: str
    target: str
    kernel: str
    registers: int
    spilled: int
    wide: int
    needed: int
    accesses: dict[str, int]

    @property
    def misses(self) -> str:
        """What is not as it should be, in words."""
        found = [f"{self.registers} registers"] * (self.target.isdigit() and self.registers > MOST_REGISTERS)
        found += [f"spills {self.spilled} bytes"] * (self.spilled > 0)
        return ", ".join(found + ["narrow accesses in the loop"] * (self.wide < self.needed))


def programs_of(name: str, **options: Any) -> list[Program]:
    """Those of a vector and of a matrix, where they differ."""
    named = registry.lookup(name)
    made = (named.cls([torch.nn.Parameter(torch.zeros(s))], **named.options, **options) for s in ((1,), (1, 1)))
    return list(dict.fromkeys(optimizer.program() for optimizer in made))


def gpu(target: str) -> Any:
    from triton.backends.compiler import GPUTarget

    if target.isdigit():
        return GPUTarget("cuda", int(target), 32)
    return GPUTarget("hip", target, 64 if target.startswith("gfx9") else 32)


def kernels(program: Program, dtype: torch.dtype, target: str) -> Iterator[tuple[str, KernelText, int]]:
    """The kernels of a step with the watch: their names and sources, and the 16-byte accesses in their loops."""
    dtypes = dict.fromkeys(program.buffers, dtype) | dict.fromkeys(program.temporaries, torch.float32)
    if program.along:
        yield from tile_kernels(program, dtypes, target.startswith("gfx9"))
        return
    blocks = blocks_for(dtypes, 0, target.startswith("gfx9"))
    threads = blocks.warps * (64 if target.startswith("gfx9") else 32)
    for i, p in enumerate(program.passes):
        if not p.results:
            continue
        last = "param" in p.writes
        name = "write" if last else "temporary" if p.writes else "sum"
        looks = {name: (Watched.EVERYTHING, ("param", "grad") if last else ())}
        if last:
            looks["write, in brief"] = Watched.GRADIENTS, ("grad",)
        for kernel, (watch, looked_at) in looks.items():
            used = (*{*p.reads, *looked_at}, *p.writes)
            needed = sum(blocks.size * dtypes[b].itemsize // (16 * threads) for b in used)
            yield kernel, pass_source(program, i, dtypes, watch, blocks), needed
        if (p.numbers or p.writes) and not program.kept:  # where numbers are kept, torch makes them
            yield f"numbers {i}", stage_source(program, i, [False] * len(program.hypers), torch.float32), 0
    yield "add up", sum_source(7, (3, 4, 5)), 0


def tile_kernels(
    program: Program, dtypes: Mapping[str, torch.dtype], wide_waves: bool
) -> Iterator[tuple[str, KernelText, int]]:
    """Those of a formula with values of rows and columns, of rows that begin at 16 bytes: in large tiles."""
    tile = TILES[-1]
    for index, jobs in enumerate(jobs_of(program)):
        for job in jobs:
            source = tile_source(program, index, job, dtypes, True, tile, True, wide_waves)
            elements = tile.matrices * tile.rows * tile.columns // ((64 if wide_waves else 32) * source.warps)
            used = [*job.reads(watch="param" in job.writes), *job.writes]
            needed = sum(max(1, elements * dtypes[b].itemsize // 16) for b in used)
            yield "write" if "param" in job.writes else "lines" if job.along else "sum of tiles", source, needed
    for top in (False, True):
        yield "join tiles", joined_source("tl.float32", top), 0


@cache
def _made(source: KernelText, target: str) -> tuple[int, int, Counter[str]]:
    """Registers, spills and accesses of a kernel as a device gets it; optimizers of one formula share it."""
    from ravine.backends.triton._text_compiler import compile_for, limit_above

    registers, spilled, found = _read(compile_for(source, gpu(target)), target)
    if target.isdigit() and spilled and (limit := limit_above(registers)):  # as DeviceKernel does
        return _read(compile_for(source, gpu(target), limit), target)
    return registers, spilled, found


def _read(built: Any, target: str) -> tuple[int, int, Counter[str]]:
    if target.isdigit():
        with tempfile.TemporaryDirectory() as folder:
            cubin = Path(folder, "kernel.cubin")
            cubin.write_bytes(built.asm["cubin"])
            text = _tool("cuobjdump", "--dump-resource-usage", cubin) + _tool("nvdisasm", "-c", cubin)
        used = re.search(r"REG:(\d+) STACK:(\d+)", text)
        found = Counter(re.findall(r"\b(?:LDG|STG|LDL|STL)[.\w]*", text))
    else:
        text = built.asm["amdgcn"]
        used = re.search(r"(?s)\.vgpr_count: +(\d+).*?vgpr_spill_count: +(\d+)", text)
        found = Counter(re.findall(r"\b(?:global|scratch|flat|buffer)_(?:load|store)_\w+", text))
    assert used is not None, f"no registers in the code for {target}"
    return int(used[1]), int(used[2]), found


def _tool(tool: str, how: str, file: Path) -> str:
    import triton

    path = os.path.join(triton.__path__[0], "backends", "nvidia", "bin", tool)
    return subprocess.run([path, how, file], capture_output=True, text=True, check=True).stdout


def code_of(name: str, dtype: str, target: str, kernel: str, source: KernelText, needed: int) -> Code:
    """What the compiler makes of a kernel of ``kernels``."""
    registers, spilled, found = _made(source, target)
    wide = sum(n for access, n in found.items() if ".128" in access or access.endswith(("x4", "b128")))
    return Code(name, dtype, target, kernel, registers, spilled, wide, needed, dict(found))


def all_code(name: str, dtypes: Sequence[str], targets: Sequence[str]) -> list[Code]:
    """Of all kernels of an optimizer."""
    found = []
    for clip, dtype, target in product((None, 1.0), dtypes, targets):
        programs = programs_of(name, clip_norm=clip)
        for kernel, source, needed in chain.from_iterable(kernels(p, DTYPES[dtype], target) for p in programs):
            what = f"{kernel}, clipped" if clip and kernel.startswith("write") else kernel
            found.append(code_of(name, dtype, target, what, source, needed))
    return found


def code_that_writes(name: str, turn: tuple[str, str]) -> list[Code]:
    """Of the kernels of an optimizer that write, for one dtype and target."""
    of_all = chain.from_iterable(kernels(p, DTYPES[turn[0]], turn[1]) for p in programs_of(name))
    return [code_of(name, *turn, kernel, source, needed) for kernel, source, needed in of_all if kernel == "write"]


def turns(names: Sequence[str], dtypes: Sequence[str], targets: Sequence[str]) -> list[tuple[str, tuple[str, str]]]:
    """A dtype and a target for each of these optimizers."""
    each = list(zip(names, cycle(product(dtypes, targets)), strict=False))
    # a cube root, which AMD's library lacks
    return each + [
        ("madgrad", ("float32", target)) for target in targets if "madgrad" in names and target.startswith("gfx")
    ]


def table(codes: Sequence[Code]) -> str:
    """Markdown: a line for each kernel that reads parameters or gradients, the sums of all optimizers as one."""
    lines = [
        "| optimizer | dtype | target | kernel | registers | spilled | 16-byte accesses | needed | misses |",
        "|---|---|---|---|--:|--:|--:|--:|---|",
    ]
    for c in codes:
        if c.needed:
            name = "any, clip_norm" if c.kernel == "sum" else c.optimizer
            cells = [name, c.dtype, c.target, c.kernel, c.registers, c.spilled, c.wide, c.needed, c.misses]
            lines.append(f"| {' | '.join(map(str, cells))} |".replace("|  |", "| |"))
    return "\n".join(dict.fromkeys(lines))


def _head() -> str:
    import triton

    return f"""# Machine code of the GPU kernels

Compiled by Triton {triton.__version__} without a GPU, by
`python benchmarks/machine_code.py --markdown docs/results/triton-machine-code.md`. All kernels keep the watch's figures,
those in brief of the gradients only. Needed are as many 16-byte accesses as the loop has if none is narrower; where the
compiler unrolls it there are more. A row misses where it spills, where it has fewer than needed, or where a thread has more
than {MOST_REGISTERS} registers on sm_75, sm_80 and sm_90.

"""


def main() -> None:
    if os.environ.get("TRITON_INTERPRET") == "1":
        sys.exit("machine_code: TRITON_INTERPRET=1 interprets kernels and compiles none: unset it")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help=f"of {', '.join(TARGETS)} or another")
    parser.add_argument("-o", "--optimizer", action="append", help="a name; repeatable")
    parser.add_argument("--dtype", action="append", choices=DTYPES)
    parser.add_argument("--in-turn", action="store_true", help="compile less: what CI has time for")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    asked = parser.parse_args()
    names, of = asked.optimizer or registry.names(), (asked.dtype or list(DTYPES), asked.target or TARGETS)
    with ProcessPoolExecutor() as pool:
        if asked.in_turn:
            each = pool.map(code_that_writes, *zip(*turns(names, *of), strict=True))
        else:
            each = pool.map(partial(all_code, dtypes=of[0], targets=of[1]), names)
        codes = list(chain.from_iterable(each))
    print(table(codes))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(c) for c in codes], indent=1) + "\n", encoding="utf-8")
    if asked.markdown:
        asked.markdown.write_text(_head() + table(codes) + "\n", encoding="utf-8")
    if missed := [code for code in codes if code.misses]:
        sys.exit(f"machine_code: {len(missed)} of {len(codes)} kernels are not as they should be")
    print(f"{len(codes)} kernels are as they should be")


if __name__ == "__main__":
    main()
