"""Functions of torch and NumPy in a formula: the error names them as they were called, and says what to write instead."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ravine import formula
from ravine.errors import FormulaError
from ravine.formula import trace_formula
from ravine.formula._outside import INSTEAD, PUBLIC


def said(call: str) -> str:
    """The error of a piece with this call."""
    names = {"torch": torch, "F": F, "np": np, "math": math}
    piece = eval(f"lambda param, *, grad: {call}", names)
    with pytest.raises(FormulaError, match="is not in the language of formulas") as error:
        trace_formula([piece], {})
    return str(error.value).partition("): ")[2]


#: A call, and the call of torch that the answer must be equal to, of a, b and c.
EQUAL = {
    "torch.add(param, grad)": torch.add,
    "param.sub(grad)": torch.sub,
    "grad.mul(2)": torch.mul,
    "grad.mul_(2)": torch.mul,
    "torch.div(grad, param)": torch.div,
    "torch.floor_divide(grad, param)": torch.floor_divide,
    "torch.remainder(grad, param)": torch.remainder,
    "grad.neg()": lambda a, b, c: torch.neg(a),
    "torch.addcmul(param, grad, grad, value=2)": lambda a, b, c: torch.addcmul(a, b, c, value=0.5),
    "param.addcdiv(grad, grad)": lambda a, b, c: torch.addcdiv(a, b, c, value=0.5),
    "torch.lerp(param, grad, 0.1)": lambda a, b, c: torch.lerp(a, b, 0.25),
    "torch.gt(grad, 0)": torch.gt,
    "grad.ne(0)": torch.ne,
    "torch.zeros_like(grad)": lambda a, b, c: torch.zeros_like(a),
    "torch.ones_like(grad)": lambda a, b, c: torch.ones_like(a),
    "F.normalize(grad)": lambda a, b, c: F.normalize(a, dim=0),
    "F.softplus(grad)": lambda a, b, c: F.softplus(a),
    "torch.log1p(grad)": lambda a, b, c: torch.log1p(a),
    "torch.expm1(grad)": lambda a, b, c: torch.expm1(a),
    "torch.exp2(grad)": lambda a, b, c: torch.exp2(a),
    "torch.ceil(grad)": lambda a, b, c: torch.ceil(a),
    "torch.trunc(grad)": lambda a, b, c: torch.trunc(a),
    "torch.round(grad)": lambda a, b, c: torch.round(a),
    "torch.nan_to_num(grad)": lambda a, b, c: torch.nan_to_num(a),
}


@pytest.mark.parametrize("call", EQUAL)
def test_what_is_written_instead_is_equal_to_torch(call: str) -> None:
    a, b, c = (torch.rand(5, dtype=torch.float64) * 3 + 0.1 for _ in range(3))
    a[0] = -a[0] if "log1p" not in call else a[0]
    write = said(call).rpartition("write ")[2].partition(":")[0]
    names: dict[str, Any] = {"a": a, "b": b, "c": c, "x": a, "value": 0.5, "weight": 0.25}
    names |= {name: getattr(formula, name, None) for name in PUBLIC if name != "abs"}
    try:
        expected = EQUAL[call](a, b, c)
    except TypeError:
        expected = EQUAL[call](a, b)
    torch.testing.assert_close(torch.as_tensor(eval(write, names), dtype=expected.dtype).expand(5), expected)


@pytest.mark.parametrize("call", ["torch.sin(grad)", "grad.sin()", "np.sin(grad)", "torch.erf(grad)", "grad.numpy()"])
def test_what_torch_has_is_no_typing_mistake(call: str) -> None:
    text = said(call)
    assert "Did you mean" not in text
    assert "its functions are abs, sqrt, sign, exp," in text
    assert "@tensor_function" in text


def test_a_typing_mistake_is_one() -> None:
    assert said("grad.maxmum(2)").endswith("Did you mean 'maximum'?")


@pytest.mark.parametrize(
    "call", ["torch.rand_like(grad)", "grad.normal_()", "F.dropout(grad)", "torch.bernoulli(grad)"]
)
def test_there_are_no_random_numbers(call: str) -> None:
    assert said(call).endswith("a formula has no random numbers")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("F.normalize(grad)", "torch.nn.functional.normalize"),
        ("F.softplus(grad)", "torch.nn.functional.softplus"),
        ("torch.linalg.norm(grad)", "torch.linalg.norm"),
        ("torch.cat([grad, grad])", "torch.cat"),
        ("torch.sin(grad)", "torch.sin"),
        ("np.sin(grad)", "numpy.sin"),
        ("grad.mul(2)", ".mul"),
    ],
)
def test_a_function_is_named_as_users_find_it(call: str, name: str) -> None:
    assert said(call).startswith(f"{name} is not in the language of formulas; ")


def test_what_a_formula_has_is_not_said_to_be_lacking() -> None:
    assert {name for name in INSTEAD if name in PUBLIC} <= {
        "sum",
        "mean",
        "dot",
        "norm",
        "global_norm",
        "rms",
        "amax",
        "numel",
        "resolution",
    }
