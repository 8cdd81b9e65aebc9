"""Random formulas in Triton's interpreter, against an evaluation in NumPy's doubles: ten formulas of each seed."""

from __future__ import annotations

import pytest
from random_formula_steps import check

pytestmark = pytest.mark.usefixtures("interpreter")


def test_twenty_random_formulas() -> None:
    check((4, 3), ways=[True], steps=2)


@pytest.mark.slow  # half a second for each seed in the interpreter
@pytest.mark.parametrize("part", range(3))
def test_two_hundred_and_twenty_more(part: int) -> None:
    check(range(100 + part, 150, 7), ways=[True], steps=2)  # of every dtype, and with norms
