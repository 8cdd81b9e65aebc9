"""What kernels do for a formula with values of rows and columns: one job after the other, each one launch.

A tensor is its matrices, the last two dimensions of each. A kernel goes over the elements. What it reads of rows, columns and
matrices was computed before it (``_line_values.py``), and sums of rows and columns that it makes are read by what comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ravine.formula import Program
from ravine.formula._operations import ALONG, FULL
from ravine.formula._passes import Reduction
from ravine.formula._python import code_name
from ravine.formula._symbols import Symbol, postorder


class Job(NamedTuple):
    """What one kernel does.

    Attributes:
        along: the sums of rows and columns that it makes.
        results: what is computed of every element: arguments of the reductions, and then new values.
        reductions: what the first results are summed for, with the row of each in the table of sums.
        writes: the buffers that the others are written to.
        numbers: the numbers that it reads, by their index in the table.
        vectors: the values of rows, columns and matrices that it reads.
        names: the names of numbers and of buffers.
    """

    along: tuple[Symbol, ...]
    results: tuple[Symbol, ...]
    reductions: tuple[tuple[int, Reduction], ...]
    writes: tuple[str, ...]
    numbers: tuple[tuple[int, Symbol], ...]
    vectors: tuple[Symbol, ...]
    names: Mapping[Symbol, str]

    @property
    def roots(self) -> list[Symbol]:
        """Everything that is computed for every element."""
        return [*(s.args[0] for s in self.along), *self.results]

    def reads(self, watch: bool = False) -> list[str]:
        """The buffers that it reads, with those that the watch looks at."""
        symbols = postorder(self.roots, into=_of_elements)
        names = [self.names[s] for s in symbols if s in self.names and s.axes == FULL]
        return list(dict.fromkeys([*names, *(("param", "grad") if watch else ())]))


def jobs_of(program: Program) -> list[list[Job]]:
    """Those of every pass: sums of rows and columns, level by level, and then the pass itself."""
    done: set[Symbol] = set()
    return [_jobs_of_pass(program, index, done) for index in range(len(program.passes))]


def traffic_of_jobs(program: Program, itemsize: Mapping[str, int]) -> int:
    """Bytes that a step moves per element, for the given bytes per element of each buffer; rows and columns are not counted."""
    jobs = [job for of_pass in jobs_of(program) for job in of_pass]
    return sum(itemsize[b] for job in jobs for b in (*job.reads(), *job.writes))


def _jobs_of_pass(program: Program, index: int, done: set[Symbol]) -> list[Job]:
    p = program.passes[index]
    names: dict[Symbol, str] = {}
    for symbol in postorder(p.results, into=_computed):
        if symbol.op in ("buffer", "result"):
            names[symbol] = p.name_of(symbol)
    for symbol in p.numbers:
        if symbol.op in ("number", "kept"):
            names[symbol] = code_name(symbol.name)

    def job(
        along: Sequence[Symbol],
        results: Sequence[Symbol],
        reductions: Sequence[tuple[int, Reduction]],
        writes: Sequence[str],
    ) -> Job:
        roots = [*(s.args[0] for s in along), *results]
        used = {s for s in postorder(roots, into=_of_elements) if not s.axes and s.op != "constant"}
        numbers = tuple((i, n) for i, n in enumerate(p.numbers) if n in used)
        vectors = tuple(s for s in postorder(roots, into=_of_elements) if s.axes not in (0, FULL))
        return Job(tuple(along), tuple(results), tuple(reductions), tuple(writes), numbers, vectors, names)

    levels: dict[int, list[Symbol]] = {}
    depth: dict[Symbol, int] = {}
    for symbol in postorder(p.results, into=_computed):
        below = max((depth.get(a, 0) for a in symbol.args), default=0) if symbol.op != "result" else 0
        makes = symbol.op in ALONG and symbol.args[0].axes == FULL
        depth[symbol] = below + makes
        if makes and symbol not in done:
            levels.setdefault(depth[symbol], []).append(symbol)
            done.add(symbol)
    jobs = [job(levels[level], [], [], []) for level in sorted(levels)]
    count = len(p.reductions)
    summed = [(i, r) for i, r in enumerate(p.reductions) if p.results[i].axes == FULL]
    written = [(s, b) for s, b in zip(p.results[count:], p.writes, strict=True) if program.axes(b) == FULL]
    results = [*(p.results[i] for i, _ in summed), *(s for s, _ in written)]
    if results:
        jobs.append(job([], results, summed, [b for _, b in written]))
    return jobs


def _computed(symbol: Symbol) -> bool:
    """Whether a pass computes it from its arguments."""
    return symbol.element and symbol.op != "result"


def _of_elements(symbol: Symbol) -> bool:
    """Whether a kernel computes it from its arguments, for every element."""
    return symbol.axes == FULL and symbol.op not in ("buffer", "result")
