"""The machine code of every named optimizer's kernels, compiled for GPUs that need not be there.

    python benchmarks/machine_code.py                        a table of all of them
    python benchmarks/machine_code.py --target 90 -o adam    of one optimizer, for one target
    python benchmarks/machine_code.py --markdown docs/results/machine-code.md --json FILE

For each kernel: registers, spilled bytes, how wide loads and stores are, and whether vectors are 16 bytes. Without
TRITON_INTERPRET; nothing runs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ravine.backends.triton._pass_text import KernelText, blocks_for, pass_source, stage_source, sum_source
from ravine.formula import Program
from ravine.optim import _registry as registry

TARGETS = ("80", "90", "gfx942")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Registers of a thread with which a multiprocessor still holds 16 warps.
MOST_REGISTERS = 128


@dataclass(frozen=True)
class Code:
    """What the compiler made of one kernel."""

    optimizer: str
    dtype: str
    target: str
    kernel: str
    registers: int
    spilled: int
    wide: int
    narrow: int
    accesses: dict[str, int]


def program_of(name: str) -> Program:
    named = registry.lookup(name)
    return named.cls([torch.nn.Parameter(torch.zeros(1))], **named.options).program()


def gpu(target: str) -> Any:
    from triton.backends.compiler import GPUTarget

    if target.isdigit():
        return GPUTarget("cuda", int(target), 32)
    return GPUTarget("hip", target, 64 if target.startswith("gfx9") else 32)


def kernels(program: Program, dtype: torch.dtype, target: str) -> Iterator[tuple[str, KernelText]]:
    """The kernels of a step with the watch: their names and sources."""
    dtypes = dict.fromkeys(program.buffers, dtype)
    blocks = blocks_for(dtypes, 0, target.startswith("gfx9"))
    for i, p in enumerate(program.passes):
        yield "write" if p.writes else "sum", pass_source(program, i, dtypes, True, blocks)
        if p.numbers or p.writes:
            yield f"numbers {i}", stage_source(program, i, [False] * len(program.hypers), torch.float32)
    yield "add up", sum_source(7, (3, 4, 5))


def code_of(name: str, dtype: str, target: str, kernel: str, source: KernelText) -> Code:
    from ravine.backends.triton._text_compiler import compile_for

    built = compile_for(source, gpu(target))
    if target.isdigit():
        cubin = next(file for file in built.metadata_group.values() if str(file).endswith(".cubin"))
        text = _tool("cuobjdump", "--dump-resource-usage", cubin) + _tool("nvdisasm", "-c", cubin)
        used = re.search(r"REG:(\d+) STACK:(\d+)", text)
        found = Counter(re.findall(r"\b(?:LDG|STG|LDL|STL)[.\w]*", text))
        wide = sum(n for access, n in found.items() if ".128" in access)
    else:
        text = built.asm["amdgcn"]
        used = re.search(r"(?s)\.vgpr_count: +(\d+).*?vgpr_spill_count: +(\d+)", text)
        found = Counter(re.findall(r"\b(?:global|scratch|flat|buffer)_(?:load|store)_\w+", text))
        wide = sum(n for access, n in found.items() if access.endswith(("x4", "b128")))
    assert used is not None, f"no registers in the code of {name} for {target}"
    return Code(name, dtype, target, kernel, int(used[1]), int(used[2]), wide, sum(found.values()) - wide, dict(found))


def _tool(tool: str, how: str, file: str) -> str:
    import triton

    path = os.path.join(triton.__path__[0], "backends", "nvidia", "bin", tool)
    return subprocess.run([path, how, file], capture_output=True, text=True, check=True).stdout


def all_code(names: Sequence[str], dtypes: Sequence[str], targets: Sequence[str]) -> Iterator[Code]:
    for name in names:
        program = program_of(name)
        for dtype in dtypes:
            for target in targets:
                for kernel, source in kernels(program, DTYPES[dtype], target):
                    yield code_of(name, dtype, target, kernel, source)


def table(codes: Sequence[Code]) -> str:
    """Markdown: a line for each kernel that reads parameters."""
    lines = [
        "| optimizer | dtype | target | kernel | registers | spilled | 16-byte accesses |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    for c in codes:
        if c.kernel in ("write", "sum"):
            lines.append(
                f"| {c.optimizer} | {c.dtype} | {c.target} | {c.kernel} | {c.registers} | {c.spilled} | {c.wide} |"
            )
    return "\n".join(lines)


def main() -> None:
    if os.environ.get("TRITON_INTERPRET") == "1":
        sys.exit("machine_code: TRITON_INTERPRET=1 interprets kernels and compiles none: unset it")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help=f"of {', '.join(TARGETS)} or another")
    parser.add_argument("-o", "--optimizer", action="append", help="a name; repeatable")
    parser.add_argument("--dtype", action="append", choices=DTYPES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    asked = parser.parse_args()
    names = asked.optimizer or [name for name in registry.names() if registry.lookup(name).timed]
    codes = list(all_code(names, asked.dtype or list(DTYPES), asked.target or TARGETS))
    print(table(codes))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(c) for c in codes], indent=1) + "\n", encoding="utf-8")
    if asked.markdown:
        asked.markdown.write_text(table(codes) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
