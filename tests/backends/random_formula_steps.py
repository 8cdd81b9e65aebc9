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
STATES = tuple(f"s{i}" for i in range(9))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
HYPERS = ({"a": 0.7, "b": -1.5}, {"a": 2.0, "b": 0.0})
SIZES = ((40,), (5, 7), (), (3,))


def formulas(seed: int) -> dict[str, Tree]:
    """The new values of the parameter and of each state."""
    generator = Generator(seed, STATES, norms=2 if seed % 4 == 3 else 0)  # each level costs a pass, and a kernel
    trees = {name: generator.element(3 + seed % 2) for name in ("param", *STATES)}
    return {**trees, "param": ("add", "param", trees["param"]) if trees["param"] == "param" else trees["param"]}


def piece(trees: dict[str, Tree]) -> Any:
    source = f"def piece(param, {', '.join(f'{s}=0.25' for s in STATES)}, *, grad, a, b, step):\n"
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
    return tensor.detach().double().reshape(-1).numpy().copy()


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
            at = {name: float(x.flat[i % x.size]) for name, x in tensor.elements.items()} | dict(tensor.numbers)
            self.wrong.append(f"{what} is {values[i]}, not within {low[i]} and {high[i]} (nan: {nan[i]}) at {at}")


def step_and_compare(seed: int, dtype: torch.dtype, fused: bool, result: Comparison, steps: int) -> None:
    """So many steps, the last of special values; before each, all tensors are filled anew."""
    trees = formulas(seed)
    params = [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in SIZES]
    groups = [{"params": params[:2], **HYPERS[0]}, {"params": params[2:], **HYPERS[1]}]
    optimizer = Optimizer(groups, [piece(trees)], fused=fused, watch=False, **HYPERS[0])
    random = np.random.default_rng(seed)
    precision = exact.DOUBLE if dtype is torch.float64 else exact.SINGLE
    for step in range(1, steps + 1):
        tensors: list[Tensor] = []
        for i, p in enumerate(params):
            p.grad = torch.empty_like(p)
            states = {s: optimizer.state[p][s] for s in STATES if s in optimizer.state[p]}
            with torch.no_grad():
                fill([p, p.grad, *states.values()], random, special=step == steps)
            start = {s: np.full(p.numel(), 0.25) for s in STATES}
            elements = {**start, **{n: numpy(t) for n, t in {"param": p, "grad": p.grad, **states}.items()}}
            tensors.append(Tensor(elements, {**HYPERS[i // 2], "step": float(step)}, precision, tensors))
        optimizer.step()
        for p, tensor in zip(params, tensors, strict=True):
            for name, tree in trees.items():
                wanted = tensor.of(tree, as_element=True)
                assert isinstance(wanted, exact.Interval)
                what = f"seed {seed}, {dtype}, fused={fused}, step {step}: {name} = {text(tree)}"
                result.add(what, numpy(p if name == "param" else optimizer.state[p][name]), wanted, dtype, tensor)


def check(seeds: Iterable[int], ways: Sequence[bool] = (True, False), steps: int = 3) -> None:
    """Every result of these formulas is one that rounding allows, by kernels (True) and by torch's operations (False)."""
    result = Comparison()
    for seed in seeds:
        for fused in ways:
            step_and_compare(seed, DTYPES[seed // 4 % 4], fused, result, steps)
    assert not result.wrong, "\n".join(result.wrong)
    assert result.open < 0.1 * result.results  # else the comparison would say little
