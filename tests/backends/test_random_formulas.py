"""Random formulas, stepped by kernels and by torch's operations, against an evaluation in NumPy's doubles."""

from __future__ import annotations

import pytest
from random_formula_steps import check


def test_eighty_random_formulas() -> None:
    check(range(1, 17, 2))


@pytest.mark.slow  # a second for each kernel's compilation
@pytest.mark.parametrize("part", range(3))
def test_a_hundred_and_twenty_more(part: int) -> None:
    check(range(20 + part, 70, 13))  # of every dtype, and with norms
