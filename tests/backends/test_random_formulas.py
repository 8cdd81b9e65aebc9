"""Random formulas, stepped by kernels and by torch's operations, against an evaluation in NumPy's doubles."""

from __future__ import annotations

import pytest
from random_formula_steps import MATRICES, check


def test_eighty_random_formulas() -> None:
    check(range(1, 17, 2))


@pytest.mark.slow  # a second for each kernel's compilation
@pytest.mark.parametrize("part", range(3))
def test_a_hundred_and_twenty_more(part: int) -> None:
    check(range(20 + part, 70, 13))  # of every dtype, and with norms


def test_sixteen_formulas_of_rows_and_columns() -> None:
    check((3, 8), rows=MATRICES)


@pytest.mark.slow  # they mix truth values of numbers with those of rows
def test_truth_values_of_numbers_and_of_rows() -> None:
    check((0, 14, 15, 18, 25, 41, 49), rows=MATRICES)


@pytest.mark.slow  # seconds for each formula: a kernel for each level of sums of rows and columns
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_and_twenty_eight_of_rows_and_columns(part: int) -> None:
    check(range(20 + part, 64, 11), rows=MATRICES)  # of every dtype, and with norms
