"""Random formulas, stepped by kernels and by torch's operations, against an evaluation in NumPy's doubles.

Operations on lists may multiply in another order (``addcmul``), and then a product of some of the factors can overflow that
otherwise would not. In none of these formulas does it, so the intervals are those of the other ways.
"""

from __future__ import annotations

import pytest
from random_formula_steps import MATRICES, check


def test_eighty_random_formulas() -> None:
    check(range(1, 17, 2))


@pytest.mark.usefixtures("lists")
def test_four_hundred_and_eighty_random_formulas_on_lists() -> None:
    check(range(48), ways=[None], steps=2)  # of every dtype, and with norms


@pytest.mark.slow  # a second for each kernel's compilation
def test_forty_more() -> None:
    check((21, 35, 40, 62))  # of every dtype, and with norms


def test_twenty_formulas_of_rows_and_columns() -> None:
    check((3, 8), rows=MATRICES)


@pytest.mark.slow  # they mix truth values of numbers with those of rows
def test_truth_values_of_numbers_and_of_rows() -> None:
    check((15, 25, 49), rows=MATRICES)


@pytest.mark.slow  # seconds for each formula: a kernel for each level of sums of rows and columns
def test_forty_of_rows_and_columns() -> None:
    check((23, 37, 44, 58), rows=MATRICES)  # of every dtype, and with norms
