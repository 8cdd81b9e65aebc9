"""The ``formula`` of a class: what it may be, and what is said of one that is written otherwise."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from ravine.errors import FormulaError
from ravine.formula import rename
from ravine.optim import Optimizer

CLIPPED = pytest.mark.parametrize("common", [{}, {"clip_norm": 1.0}], ids=["plain", "clipped"])


def descend(param, *, grad, lr):
    return param - lr * grad


def yielded():
    yield descend


def made(formula, **options):
    cls = type("Mine", (Optimizer,), {"formula": formula})
    return cls([Parameter(torch.ones(3))], lr=0.5, **options)


@CLIPPED
@pytest.mark.parametrize(
    ("formula", "says"),
    [
        (lambda self: [descend], r"takes options, not self: write `@staticmethod`, `def formula\(\)`"),
        (staticmethod(lambda self, clip: [descend]), r"not self: write `@staticmethod`, `def formula\(clip\)`"),
        (lambda momentun: [descend], r"takes 'momentun', and the class has no such option. Did you mean 'momentum'\?"),
        (lambda **kw: [descend], r"by their names, not \(\*\*kw\): write `@staticmethod`, `def formula\(momentum\)`"),
        (lambda *a: [descend], r"by their names, not \(\*a\)"),
        (lambda lr, /: [descend], r"by their names, not \(lr, /\)"),
        (descend, r"not param, as if it were a piece: .* `def formula\(\): return \[descend\]`"),
        ([descend], r"is a list: write a function .* `def formula\(\): return \[piece, ...\]`"),
        (property(lambda self: [descend]), "is a property: write a function"),
        (rename(descend, lr="rate"), "is a Piece: write a function"),
        (max, r"is a Python function with a readable signature; got <built-in function max>"),
        (lambda: None, r"gives nothing: end it with `return \[piece, ...\]`"),
        (lambda: 3, r"a formula is a list of pieces \(functions\); got 3"),
    ],
)
def test_a_formula_in_another_form_is_answered_with_the_class_and_what_to_write(formula, says, common):
    options = {"momentum": 0.9} if "momentun" in says else {}
    with pytest.raises(FormulaError, match=f"the formula of Mine.*{says}"):
        made(formula, **options, **common)


@CLIPPED
@pytest.mark.parametrize(
    "formula",
    [lambda: descend, lambda: rename(descend), yielded, lambda: iter([descend]), classmethod(lambda cls: [descend])],
)
def test_one_piece_is_enough_and_any_iterable_is_a_list(formula, common):
    optimizer = made(formula, **common)
    (p,) = optimizer.param_groups[0]["params"]
    p.grad = torch.tensor([0.0, 0.0, 0.5])
    optimizer.step()
    assert p.tolist() == [1.0, 1.0, 0.75]


def test_a_class_without_a_formula_is_named_with_what_to_write():
    class Mine(Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr=lr)

    written = r"`@staticmethod`, `def formula\(\): return \[piece, \.\.\.\]`$"
    with pytest.raises(FormulaError, match=f"^the class Mine has no formula: .* {written}"):
        Mine([Parameter(torch.ones(3))])
    Mine.formula = staticmethod(lambda: [descend])
    Mine([Parameter(torch.ones(3))])
