"""Random formulas in Triton's interpreter, against an evaluation in NumPy's doubles: ten formulas of each seed."""

from __future__ import annotations

import pytest
from random_formula_steps import TILED, check

pytestmark = pytest.mark.usefixtures("interpreter")


def test_twenty_random_formulas() -> None:
    check((4, 3), ways=[True], steps=2)


def test_eight_formulas_of_rows_and_columns() -> None:
    check((3,), rows=TILED, ways=[True], steps=2)


@pytest.mark.slow  # a second or two for each seed in the interpreter
def test_seventy_two_of_rows_and_columns() -> None:
    check(range(100, 144, 5), rows=TILED, ways=[True], steps=2)  # of every dtype, and with norms


@pytest.mark.slow  # half a second for each seed in the interpreter
def test_four_hundred_and_eighty_more() -> None:
    check(range(100, 148), ways=[True], steps=2)  # of every dtype, and with norms
