"""Random formulas in Triton's interpreter, against an evaluation in NumPy's doubles: ten formulas of each seed."""

from __future__ import annotations

import pytest
from random_formula_steps import check

pytestmark = pytest.mark.usefixtures("interpreter")


def test_twenty_random_formulas() -> None:
    check((4, 3), ways=[True], steps=2)


def test_eight_formulas_of_rows_and_columns() -> None:
    check((3,), rows=True, ways=[True], steps=2)


@pytest.mark.slow  # seconds for each formula in the interpreter
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_and_twenty_eight_of_rows_and_columns(part: int) -> None:
    check(range(100 + part, 144, 11), rows=True, ways=[True], steps=2)


@pytest.mark.slow  # half a second for each seed in the interpreter
@pytest.mark.parametrize("part", range(3))
def test_three_hundred_and_seventy_more(part: int) -> None:
    check(range(100 + part, 185, 7), ways=[True], steps=2)  # of every dtype, and with norms
