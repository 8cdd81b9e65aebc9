"""What one step of each optimizer of a study computes, for those that are written as formulas."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ravine.comparison import contenders
from ravine.comparison.study.result import Result
from ravine.errors import RavineError
from ravine.formula.mathematics import formula_lines
from ravine.optim.optimizer import Optimizer


@dataclass(frozen=True)
class Formula:
    """A formula.

    Attributes:
        lines: as text, an assignment a line; empty for an optimizer that is no formula.
        mathml: as ``<math>`` blocks; empty for an optimizer that is no formula.
        source: the paper or program that it follows.
    """

    lines: tuple[str, ...]
    mathml: str
    source: str


def formulas(result: Result) -> dict[str, Formula]:
    """The formula of each optimizer, by label."""
    return {arm.label: _formula(arm.label) for arm in result.spec.arms}


def _formula(label: str) -> Formula:
    try:
        found = contenders.parse(label, None, None)
        optimizer = found.build([torch.nn.Parameter(torch.zeros(1))])
    except RavineError:
        return Formula((), "", "")
    if not isinstance(optimizer, Optimizer):
        return Formula((), "", f"torch.optim.{type(optimizer).__name__}")
    return Formula(tuple(formula_lines(optimizer.program())), "", type(optimizer).reference)
