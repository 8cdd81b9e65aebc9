"""Every row of the table of operations in a step: as elements and as numbers, in the kernel and in torch's operations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ravine import formula
from ravine.formula import global_norm, norm
from ravine.formula._operations import INFIX, NORMS, OPERATIONS
from ravine.optim import Optimizer

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
ROWS = [(name, row) for name, op in OPERATIONS.items() for row in op.rows]


def expression(name: str, arguments: list[str]) -> str:
    """The operation on values a, b, c of a formula, whose truth values are those above one half."""
    if name in ("and", "or", "logical_not"):
        arguments = [f"({a} > 0.5)" for a in arguments]
    elif name == "where":
        arguments[0] = f"{arguments[0]} > 0.5"
    text = f" {INFIX[name]} ".join(arguments) if name in INFIX else f"{name}({', '.join(arguments)})"
    return f"where({text}, 1, 0)" if OPERATIONS[name].truth else text


def all_operations(source: str) -> Any:
    """A piece that keeps the value of each operation as a state; the third argument is the gradient of a first step."""
    states = ", ".join(f"of_{name}=0.0" for name in OPERATIONS)
    lines = [f"def piece(param, third=0.0, {states}, *, grad, step, x, y, z):", f"    {source}"]
    results = ", ".join(expression(name, ["a", "b", "c"][: op.arity]) for name, op in OPERATIONS.items())
    lines += ["    third = where(step == 1, grad, third)", f"    return param * 1.0, third, {results}"]
    scope = {**vars(formula)}
    exec("\n".join(lines), scope)
    return scope["piece"]


def same(value: float, wanted: float) -> bool:
    if math.isnan(wanted):
        return math.isnan(value)
    return value == wanted and math.copysign(1, value) == math.copysign(1, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_as_elements(fused: bool | None, dtype: torch.dtype) -> None:
    filled = [(*map(float, row[:-1]), 0.0, 0.0)[:3] for _, row in ROWS]
    first, second, third = (torch.tensor(column, dtype=dtype) for column in zip(*filled, strict=True))
    p = torch.nn.Parameter(first)
    piece = all_operations("a, b, c = param, grad, third")
    optimizer = Optimizer([p], [piece], fused=fused, watch=False, x=0.0, y=0.0, z=0.0)
    for grad in (third, second):
        p.grad = grad.clone()
        optimizer.step()
    wrong = [
        f"{name}{row[:-1]} is {row[-1]}, but {float(optimizer.state[p][f'of_{name}'][i])}"
        for i, (name, row) in enumerate(ROWS)
        if not same(float(optimizer.state[p][f"of_{name}"][i]), float(row[-1]))
    ]
    assert not wrong


@pytest.mark.parametrize("together", [True, False], ids=["together", "alone"])
def test_as_numbers(request: pytest.FixtureRequest, fused: bool | None, together: bool) -> None:
    """The numbers of one group, which the host computes in Python, and those of many groups, which are arrays."""
    alone = [[row] for row in ROWS]
    if request.node.callspec.params["fused"] == "interpreter":
        alone = alone[::20]  # a device computes numbers of one group and of many in the same way
    # Infinite and NaN numbers come of finite hyperparameters: an option must be a finite number.
    source = "a, b, c = (where(abs(v) > 1e300, v * 1e300, where(v == 1e299, (v - v) / (v - v), v)) for v in (x, y, z))"
    piece, wrong = all_operations(source), []
    for rows in [ROWS] if together else alone:
        groups = []
        for _ in rows:
            p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
            p.grad = torch.zeros(1, dtype=torch.float64)
            groups.append({"params": [p]})
        optimizer = Optimizer(groups, [piece], fused=fused, watch=False, x=0.0, y=0.0, z=0.0)
        for change in (True, False):  # of 0 and -0 alone no change would be seen
            for group, (_, row) in zip(optimizer.param_groups, rows, strict=True):
                finite = [1e299 if math.isnan(v) else max(-1e301, min(v, 1e301)) for v in map(float, row[:-1])]
                values = (7.0, 7.0, 7.0) if change else (*finite, 0.0, 0.0)
                group.update(zip("xyz", values, strict=False))
            optimizer.step()
        for group, (name, row) in zip(optimizer.param_groups, rows, strict=True):
            value = float(optimizer.state[group["params"][0]][f"of_{name}"])
            if not same(value, float(row[-1])):
                wrong.append(f"{name}{row[:-1]} is {row[-1]}, but {value}")
    assert not wrong


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_norms(fused: bool | None, dtype: torch.dtype) -> None:
    def sizes(param: Any, all_of_them: Any = 0.0, *, grad: Any) -> Any:
        return norm(grad) + 0 * param, global_norm(grad) + 0 * param

    limits = torch.finfo(dtype)
    for elements, wanted in NORMS:
        if not elements or any(math.isfinite(e) and e and not limits.tiny <= abs(e) <= limits.max for e in elements):
            continue  # an empty tensor keeps nothing, and float16 has no number so small or large
        values = torch.tensor(elements, dtype=dtype)
        p, empty = torch.nn.Parameter(torch.zeros_like(values)), torch.nn.Parameter(torch.zeros(0, dtype=dtype))
        p.grad, empty.grad = values, torch.zeros(0, dtype=dtype)
        optimizer = Optimizer([p, empty], [sizes], fused=fused, watch=False)
        optimizer.step()
        for value in (p.detach(), optimizer.state[p]["all_of_them"]):
            assert float(value[0]) == pytest.approx(wanted, rel=torch.finfo(dtype).eps, nan_ok=True)
