"""The table of operations: NumPy agrees with it, and so do the functions of the language on every kind of value."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ravine.formula import _functions as functions
from ravine.formula import global_norm, norm
from ravine.formula._operations import INFIX, NORMS, OPERATIONS, Row

NUMPY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "abs": np.absolute,
}  # fmt: skip
#: How a formula says it where it is no function of ravine.formula; division and powers as the number stage has them.
PYTHON = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "and": operator.and_, "or": operator.or_,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
    "abs": abs,
}  # fmt: skip
ROWS = [pytest.param(name, row, id=f"{name}{row[:-1]}") for name, op in OPERATIONS.items() for row in op.rows]


def same(result: float, wanted: float) -> bool:
    """Equal, with the same sign of zero; NaN equals NaN."""
    if math.isnan(wanted):
        return math.isnan(result)
    return bool(result == wanted) and math.copysign(1, result) == math.copysign(1, wanted)


def function(name: str) -> Callable[..., Any]:
    return PYTHON.get(name) or getattr(functions, name)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_numpy_agrees_with_the_table(name: str, row: Row) -> None:
    with np.errstate(all="ignore"):
        reference = NUMPY.get(name) or getattr(np, name)
        assert same(float(reference(*row[:-1])), row[-1])


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_numbers_arrays_and_tensors_have_the_value_of_the_table(name: str, row: Row) -> None:
    *arguments, wanted = row
    call = function(name)
    assert same(call(*arguments), wanted)
    with np.errstate(all="ignore"):
        assert same(float(call(*(np.array([a, a]) for a in arguments))[1]), wanted)
    for dtype in (torch.float32, torch.float64):
        tensors = [torch.tensor(a, dtype=None if isinstance(a, bool) else dtype) for a in arguments]
        assert same(call(*tensors).item(), wanted)
        assert same(call(*(t.expand(2) for t in tensors))[1].item(), wanted)
        if name not in ("and", "or"):  # a tensor and a number
            assert same(float(call(tensors[0], *arguments[1:])), wanted)
            assert same(float(call(*arguments[:-1], tensors[-1])), wanted)


@pytest.mark.parametrize(("elements", "wanted"), NORMS, ids=str)
def test_norms_by_hand(elements: Row, wanted: float) -> None:
    for call in (norm, global_norm):
        result = call(torch.tensor(elements, dtype=torch.float64)).item()
        assert result == pytest.approx(wanted, rel=1e-12, nan_ok=True)


def test_a_power_of_one_half_is_no_square_root_unless_it_is_written_so() -> None:
    """NumPy's and torch's operators take a root where the exponent is the number 0.5; C and kernels do not."""
    for base in (-math.inf, np.array([-math.inf]), torch.tensor([-math.inf]), torch.tensor(-math.inf)):
        assert np.asarray(functions.pow(base, 0.5)).item() == math.inf
        assert np.asarray(functions.pow(base, -0.5)).item() == 0


def test_every_operation_that_can_be_asked_has_rows() -> None:
    for name, op in OPERATIONS.items():
        assert op.rows, name
        assert {len(row) for row in op.rows} == {op.arity + 1}


# --- the documentation ------------------------------------------------------------------------------------------


def written(name: str, arguments: Sequence[str]) -> str:
    """An operation as a formula has it, for a cell of a table."""
    if name == "logical_not":
        text = f"~{arguments[0]}"
    elif name in INFIX:
        parts = (f"({a})" if a.startswith("-") else a for a in arguments)
        text = f" {INFIX[name]} ".join(parts).replace("|", r"\|")
    else:
        text = f"{name}({', '.join(arguments)})"
    return f"`{text}`"


def documented(name: str) -> str:
    """A line of the table in docs/formulas.md."""
    letters = ("condition", "x", "y") if name == "where" else ("x", "y")[: OPERATIONS[name].arity]
    rows = ([str(x) if isinstance(x, bool) else f"{x:g}" for x in row] for row in OPERATIONS[name].rows)
    return f"| {written(name, letters)} | {', '.join(f'{written(name, row[:-1])} is {row[-1]}' for row in rows)} |"


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_documentation_has_the_table(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "formulas.md").read_text(encoding="utf-8")
    assert documented(name) in text.splitlines()
