"""The number stage: in double precision, on numbers, arrays and tensors of no dimensions, and it never raises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from ravine.formula import (
    exp,
    global_norm,
    isfinite,
    log,
    maximum,
    minimum,
    norm,
    sign,
    sqrt,
    tanh,
    trace_formula,
    where,
)


def everything(param: Any, *, grad: Any, a: Any, b: Any, step: Any) -> Any:
    """Every operation of the language on numbers."""
    size, all_sizes = norm(grad), global_norm(grad)
    one = where((size > a) & ~(all_sizes <= b), sqrt(size) + exp(-size), sign(b) * tanh(a)) / (1 - a**step)
    two = minimum(maximum(one, -a), log(size + 1)) * where(isfinite(1 / b), 0.1, 0.2) + where(step == 1, 0.7, size)
    return param - one * grad + two * size**3 / all_sizes


PROGRAM = trace_formula([everything], {"a": 0.0, "b": 0.0})


def numbers(make: Any, step: float, a: float, b: float, squares: float) -> list[Any]:
    """The numbers of the last pass; both norms are the root of ``squares``."""
    hypers = {"a": make(a), "b": make(b)}
    return list(PROGRAM.numbers(1, make(step), [hypers[n] for n in PROGRAM.hypers], [make(squares)] * 2))


CASES = [
    (3.0, 0.9, 0.3, 4.0),
    (1.0, 0.5, 0.0, 0.0),  # divides by 0
    (1.0, 1.0, -1.0, math.inf),  # 1 - a**step is 0
    (2.0, -0.5, 2.0, math.nan),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_numbers_arrays_and_tensors_give_the_same(case: tuple[float, ...]) -> None:
    plain = numbers(float, *case)
    assert all(type(n) in (float, bool) for n in plain)
    with np.errstate(all="ignore"):
        arrays = numbers(lambda x: np.array([x, x]), *case)
        scalars = numbers(np.float64, *case)
    tensors = numbers(lambda x: torch.tensor(x, dtype=torch.float64), *case)
    several = numbers(lambda x: torch.tensor([x, x], dtype=torch.float64), *case)
    for value, array, scalar, tensor, two in zip(plain, arrays, scalars, tensors, several, strict=True):
        wanted = pytest.approx(value, rel=1e-12, abs=1e-300, nan_ok=True)
        assert list(np.broadcast_to(array, 2)) == [wanted, wanted]
        assert scalar == wanted
        assert tensor.item() == wanted
        assert tensor.dtype in (torch.float64, torch.bool)
        assert two.expand(2).tolist() == [wanted, wanted]


def test_on_tensors_nothing_is_asked_for() -> None:
    """A tensor without values cannot be brought to the host: ``item``, ``float`` and ``if`` would raise."""
    for number in numbers(lambda x: torch.tensor(x, dtype=torch.float64, device="meta"), *CASES[0]):
        assert number.is_meta
        assert number.shape == ()


def test_some_numbers_of_a_step_may_be_one_for_each_tensor() -> None:
    """A rate of 0 is divided by as a Python number, beside the array of the tensors' steps."""

    def piece(param: Any, *, grad: Any, a: Any, b: Any, step: Any) -> Any:
        return param - grad * (1 / a) - grad * b**0.5 - grad * (1 - 0.5**step)

    program = trace_formula([piece], {"a": 0.0, "b": 0.0})
    values = {"a": 0, "b": -1.0}
    result = program.numbers(0, np.array([1.0, 2.0]), [values[n] for n in program.hypers])
    assert any(np.array_equal(n, math.inf) for n in result)
    assert any(np.array_equal(n, math.nan, equal_nan=True) for n in result)
    assert any(np.array_equal(n, [0.5, 0.75]) for n in result)


def test_a_number_stage_can_be_printed_with_calls() -> None:
    """As another language needs it, where Python's signs mean something else."""
    source = PROGRAM.number_source(1, calls={"div", "pow"})
    assert "pow(a_, step)" in source
    assert " / " not in source
    assert "**" not in source
