"""Random formulas, stepped by kernels and by torch's operations, against an evaluation in NumPy's doubles."""

from __future__ import annotations

import pytest
from random_formula_steps import MATRICES, check


def test_eighty_random_formulas() -> None:
    check(range(1, 17, 2))


@pytest.mark.slow  # a second for each kernel's compilation
def test_forty_more() -> None:
    check((21, 35, 40, 62))  # of every dtype, and with norms


def test_sixteen_formulas_of_rows_and_columns() -> None:
    check((3, 8), rows=MATRICES)


@pytest.mark.slow  # they mix truth values of numbers with those of rows
def test_truth_values_of_numbers_and_of_rows() -> None:
    check((15, 25, 49), rows=MATRICES)


@pytest.mark.slow  # seconds for each formula: a kernel for each level of sums of rows and columns
def test_thirty_two_of_rows_and_columns() -> None:
    check((23, 37, 44, 58), rows=MATRICES)  # of every dtype, and with norms
