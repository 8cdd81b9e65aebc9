"""Expressions in errors stand there as a user writes them."""

from __future__ import annotations

import math
import re

import pytest

from ravine import formula
from ravine.errors import FormulaError
from ravine.formula import trace_formula

NAMES = {name: getattr(formula, name) for name in formula.__all__} | {"sum": formula.sum}


def compared(text: str) -> str:
    """The comparison that the error of a piece names which decides by it."""
    piece = eval(
        f"lambda update, average=0.0, *, param, grad, step, lr: (update if {text} else grad, average)", dict(NAMES)
    )
    with pytest.raises(FormulaError, match="while a formula is read") as error:
        trace_formula([lambda grad, *, step: grad * step, piece, lambda param, *, update: param - update], {"lr": 0.1})
    found = re.search(r"whether `(.*)` holds is not known", str(error.value))
    assert found
    return found[1]


@pytest.mark.parametrize(
    "text",
    [
        "step > 5",
        "grad > 1",
        "average <= lr",
        "param * (lr + 1) / (step - 2) < 3",
        "lr - (step - 1) > 0",
        "-lr * step >= -0.5",
        "lr**2 == step",
        "(lr + 1)**2 < 1e-08",
        "(grad > 1) & (param < 1)",
        "norm(grad) > 3",
        "norm(grad, over='all') > 3",
        "mean(grad) != sum(param, over='group')",
        "sum(grad, dim=-1) < amax(grad)",
        "where(grad > 0, 1, lr) > sqrt(step)",
        "isnan(grad)",
    ],
)
def test_a_comparison_is_named_as_it_was_written(text: str) -> None:
    assert compared(text) == text


def test_the_update_is_called_so_whatever_it_stands_for() -> None:
    assert compared("update > 0").endswith(" > 0")
    assert compared("max(min(param, 1), -1) > 0") == "param > 1"  # Python's min turns it round


def test_a_long_expression_keeps_its_ends() -> None:
    text = " + ".join(["norm(param)"] * 30)
    shown = compared(f"({text}) > 5")
    assert shown.endswith(" > 5")
    assert len(shown) <= 85


def test_expressions_with_shared_parts_are_written_at_once() -> None:
    def piece(grad):
        for _ in range(200):
            grad = grad + grad
        return math.sqrt(grad)

    with pytest.raises(FormulaError, match=r"\.\.\. .*has no value while a formula is read"):
        trace_formula([piece], {})


def test_the_names_of_one_piece_are_not_those_of_another() -> None:
    def first(grad):
        return grad * 2

    def second(update, *, step):
        return update if step * 2 > 3 else 0

    with pytest.raises(FormulaError, match=r"`step \* 2 > 3`"):
        trace_formula([first, second], {})


@pytest.mark.parametrize("returned", ["[param - grad]", "[param, grad]"])
def test_a_list_is_answered_with_what_to_return(returned: str) -> None:
    piece = eval(f"lambda param, *, grad: {returned}")
    said = "a list of 1: return the value without" if "," not in returned else "a list of 2: write them with commas"
    with pytest.raises(FormulaError, match=rf"must return the new values of \(param\).* it returned {said}"):
        trace_formula([piece], {})
