"""Random formulas in Triton's interpreter, against an evaluation in NumPy's doubles: ten formulas of each seed."""

from __future__ import annotations

import pytest
from random_formula_steps import check

pytestmark = pytest.mark.usefixtures("interpreter")


def test_twenty_random_formulas() -> None:
    check((4, 3), ways=[True], steps=2)


@pytest.mark.slow  # half a second for each seed in the interpreter
@pytest.mark.parametrize("part", range(4))
def test_five_hundred_more(part: int) -> None:
    check(range(100 + part, 150, 4), ways=[True], steps=2)
