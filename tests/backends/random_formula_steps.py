"""Steps of random formulas against an evaluation in NumPy's doubles.

Each program computes several formulas at once, of several states, of numbers and norms of norms, on ordinary values
and on NaN, infinities, zeros, and very small and large numbers; two groups have other numbers. A result must lie in
the interval that rounding allows (``tests/exact.py``); most intervals are a few digits wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import exact
import numpy as np
import torch
from random_formulas import Generator, Tensor, Tree, text

from ravine import formula
from ravine.optim import Optimizer

SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5, 1e30, -1e-30, 1e-12, 300.0]
Shapes = Sequence[tuple[int, ...]]
Known = dict[int, list[Tensor]]
STATES = tuple(f"s{i}" for i in range(9))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
HYPERS = ({"a": 0.7, "b": -1.5}, {"a": 2.0, "b": 0.0})
SIZES = ((40,), (5, 7), (), (3,))
#: With values of rows and columns: states of rows and columns beside others, and matrices; the last is two chunks.
REDUCED = {"r0": -1, "r1": -1, "c0": -2}
ROW_STATES = ("s0", "s1", "s2", "s3", *REDUCED)
MATRICES = ((5, 7), (2, 3, 4), (1, 6), (2100, 8))
#: The last is two tiles of a GPU's kernel.
TILED = (*MATRICES[:3], (520, 8))


def formulas(seed: int, rows: bool = False) -> dict[str, Tree]:
    """The new values of the parameter and of each state."""
    states = ROW_STATES if rows else STATES
    generator = Generator(
        seed, states, norms=2 if seed % 4 == 3 else 0, rows=rows
    )  # each level costs a pass, and a kernel
    depth = 3 + seed % 2
    trees = {
        n: generator.along(depth, REDUCED[n]) if n in REDUCED else generator.element(depth) for n in ("param", *states)
    }
    return {**trees, "param": ("add", "param", trees["param"]) if trees["param"] == "param" else trees["param"]}


def piece(trees: dict[str, Tree]) -> Any:
    starts = [f"{s}=reduced(0.25, dim={REDUCED[s]})" if s in REDUCED else f"{s}=0.25" for s in trees if s != "param"]
    source = f"def piece(param, {', '.join(starts)}, *, grad, a, b, step):\n"
    scope: dict[str, Any] = {**vars(formula)}
    exec(f"{source}    return {', '.join(map(text, trees.values()))}", scope)
    return scope["piece"]


def fill(tensors: list[torch.Tensor], random: np.random.Generator, special: bool) -> None:
    for tensor in tensors:
        values = random.standard_normal(tensor.numel())
        if special:
            values = np.where(random.random(values.size) < 0.6, random.choice(SPECIAL, values.size), values)
        tensor.copy_(torch.from_numpy(values).reshape(tensor.shape))


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy().copy()


def outside(values: np.ndarray, wanted: exact.Interval, dtype: torch.dtype) -> np.ndarray:
    """Where a result is none that rounding allows; its interval is rounded as the tensor is."""
    low, high = (numpy(torch.from_numpy(np.array(x)).to(dtype)) for x in (wanted.low, wanted.high))
    missing = np.isnan(values)
    return np.where(missing, ~wanted.nan, (values < low) | (values > high) | wanted.empty)


@dataclass
class Comparison:
    """What is wrong, how many results were compared, and how many of them could be almost anything."""

    wrong: list[str] = field(default_factory=list)
    results: int = 0
    open: int = 0

    def add(self, what: str, values: np.ndarray, wanted: exact.Interval, dtype: torch.dtype, tensor: Tensor) -> None:
        low, high, nan = (np.broadcast_to(x, values.shape) for x in (wanted.low, wanted.high, wanted.nan))
        wanted = exact.Interval(low, high, nan)
        bad = outside(values, wanted, dtype)
        with np.errstate(all="ignore"):
            narrow = high - low < 1e-2 * np.abs(low) + 1e-6
        self.results += values.size
        self.open += int(np.count_nonzero(~narrow & ~wanted.point))
        for i in np.flatnonzero(bad)[:1]:
            values, low, high, nan = (x.reshape(-1) for x in (values, low, high, nan))
            at = {name: float(x.flat[i % x.size]) for name, x in tensor.elements.items()} | dict(tensor.numbers)
            self.wrong.append(f"{what} is {values[i]}, not within {low[i]} and {high[i]} (nan: {nan[i]}) at {at}")


def evaluated_together(trees: dict[str, Tree], rows: Shapes) -> list[list[int]]:
    """The numbers of parameters that NumPy evaluates at once: of a group, where each element is by itself."""
    alone = rows or any("norm" in text(tree) for tree in trees.values())
    return [[i] for i in range(len(rows or SIZES))] if alone else [[0, 1], [2, 3]]


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One array with all elements; one alone keeps its shape."""
    return arrays[0] if len(arrays) == 1 else np.concatenate([a.reshape(-1) for a in arrays])


def step_and_compare(
    seed: int, dtype: torch.dtype, fused: bool | None, result: Comparison, steps: int, rows: Shapes, known: Known
) -> None:
    """So many steps, the last of special values; before each, all tensors are filled anew.

    ``known`` keeps what NumPy has evaluated, by the number of the step, for the next way to step the same values.
    """
    trees = formulas(seed, bool(rows))
    states_of = [name for name in trees if name != "param"]
    params = [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in rows or SIZES]
    groups = [{"params": params[:2], **HYPERS[0]}, {"params": params[2:], **HYPERS[1]}]
    optimizer = Optimizer(groups, [piece(trees)], fused=fused, watch=False, **HYPERS[0])
    random = np.random.default_rng(seed)
    precision = exact.DOUBLE if dtype is torch.float64 else exact.SINGLE
    together = evaluated_together(trees, rows)
    for step in range(1, steps + 1):
        values = []
        for p in params:
            p.grad = torch.empty_like(p)
            states = {s: optimizer.state[p][s] for s in states_of if s in optimizer.state[p]}
            with torch.no_grad():
                fill([p, p.grad, *states.values()], random, special=step == steps)
            start = {s: np.full(shape_of(s, p), 0.25) for s in states_of}
            values.append({**start, **{n: numpy(t) for n, t in {"param": p, "grad": p.grad, **states}.items()}})
        tensors: list[Tensor] = []
        for members in together:
            elements = {name: joined([values[i][name] for i in members]) for name in values[0]}
            tensors.append(Tensor(elements, {**HYPERS[members[0] // 2], "step": float(step)}, precision, tensors))
        tensors = known.setdefault(step, tensors)
        optimizer.step()
        for members, tensor in zip(together, tensors, strict=True):
            same = (
                np.array_equal(tensor.elements[n], joined([values[i][n] for i in members]), True) for n in values[0]
            )
            assert all(same), "each way is given the same values"
            for name, tree in trees.items():
                wanted = tensor.of(tree, as_element=True)
                assert isinstance(wanted, exact.Interval)
                what = f"seed {seed}, {dtype}, fused={fused}, step {step}: {name} = {text(tree)}"
                new = [params[i] if name == "param" else optimizer.state[params[i]][name] for i in members]
                result.add(what, joined([numpy(t) for t in new]), wanted, new[0].dtype, tensor)


def shape_of(state: str, p: torch.Tensor) -> tuple[int, ...]:
    """The shape of a state of a parameter."""
    shape = list(p.shape)
    if state in REDUCED:
        shape[REDUCED[state]] = 1
    return tuple(shape)


def check(seeds: Iterable[int], ways: Sequence[bool | None] = (True, False), steps: int = 3, rows: Shapes = ()) -> None:
    """Every result of these formulas is one that rounding allows, by kernels and by torch's operations.

    Args:
        seeds: of the formulas, ten each.
        ways: the option ``fused`` of optimizers: True for kernels, False for torch's operations; None on lists, in their fixture.
        steps: how many; the last is one of special values.
        rows: the formulas have values of rows and columns, of matrices of these shapes.
    """
    result = Comparison()
    for seed in seeds:
        known: Known = {}
        for fused in ways:
            step_and_compare(seed, DTYPES[seed // 4 % 4], fused, result, steps, rows, known)
    assert not result.wrong, "\n".join(result.wrong)
    assert result.open < 0.1 * result.results  # else the comparison would say little
