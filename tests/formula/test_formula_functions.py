"""The functions of the language, on numbers, arrays and tensors, against NumPy; and NaN that stays visible."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ravine.formula import _functions as functions
from ravine.formula._operations import FUNCTIONS

NUMPY = {name: getattr(np, name) for name in FUNCTIONS}
floats = st.floats(width=32, allow_subnormal=False)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(a=floats, b=floats, condition=st.booleans())
def test_numbers_arrays_and_tensors_agree_with_numpy(name, a, b, condition):
    arguments = {1: (a,), 2: (a, b), 3: (condition, a, b)}[FUNCTIONS[name]]
    if name == "logical_not":
        arguments = (condition,)
    call = abs if name == "abs" else getattr(functions, name)
    with np.errstate(all="ignore"):
        expected = float(NUMPY[name](*arguments))
        arrays = tuple(np.array([x]) for x in arguments)
        found = [
            call(*arguments),
            call(*arrays)[0],
            call(*map(torch.from_numpy, arrays))[0].item(),
        ]
    for value in found:
        assert float(value) == pytest.approx(expected, rel=1e-12, abs=1e-300, nan_ok=True)


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_a_tensor_and_a_number(name):
    x = torch.tensor([-1.0, 0.5, math.nan])
    expected = getattr(np, name)(x.numpy(), np.float32(0.25))
    assert np.array_equal(getattr(functions, name)(x, 0.25).numpy(), expected, equal_nan=True)
    assert np.array_equal(getattr(functions, name)(0.25, x).numpy(), expected, equal_nan=True)


@pytest.mark.parametrize("name", ["where", "minimum", "maximum"])
@pytest.mark.parametrize("make", [np.array, np.float64, np.float32], ids=["array", "float64", "float32"])
def test_a_tensor_and_a_number_of_numpy(name, make):
    x = torch.tensor([-1.0, 0.5, math.nan])
    condition = [x > 0] if name == "where" else []
    found = getattr(functions, name)(*condition, x, make(0.25))
    assert found.dtype == torch.float32
    wanted = getattr(np, name)(*(c.numpy() for c in condition), x.numpy(), np.float32(0.25))
    assert np.array_equal(found.numpy(), wanted, equal_nan=True)
    assert functions.where(np.array(True), x, 1.0) is x


def test_norms_by_hand():
    x = torch.tensor([3.0, 4.0])
    assert functions.norm(x) == 5
    assert functions.global_norm(x.numpy()) == 5
