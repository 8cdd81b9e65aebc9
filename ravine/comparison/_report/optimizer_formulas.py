"""What one step of each optimizer computes, as text and as MathML, and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch

from ravine.comparison._study.study_record import StudyRecord
from ravine.formula._mathml import formula_mathml
from ravine.formula._plain_text import formula_lines
from ravine.optim import _registry as registry
from ravine.optim._optimizer import Optimizer
from ravine.optim._spec import OptimizerSpec


@dataclass(frozen=True)
class Formula:
    """The formula of an optimizer at its chosen point.

    Attributes:
        lines: as text, one assignment a line; empty for an optimizer that is not written as a formula.
        mathml: the same as one ``<math>`` element; empty where ``lines`` is.
        source: the paper, the library or the class that it comes from; empty if that is not known.
    """

    lines: tuple[str, ...] = ()
    mathml: str = ""
    source: str = ""


def formulas(record: StudyRecord) -> dict[str, Formula]:
    """The formulas of all optimizers at the chosen points of their runs in the middle, in the order of the spec."""
    chosen, optimizers = {each.name: each.typical for each in record.runs}, record.optimizers
    return {
        config.label: _formula(optimizers[config.label], chosen.get(config.label, {}))
        if config.label in optimizers
        else Formula()
        for config in record.spec.optimizers
    }


def _formula(spec: OptimizerSpec, point: Mapping[str, float]) -> Formula:
    source = ""
    # an optimizer may be anybody's, and a report must not fail for want of a formula: what is known so far is shown
    with suppress(Exception):
        if spec.reference:
            return Formula(source=f"torch.optim.{spec.factory.__name__}")
        source = spec.code or registry.lookup(spec.name).source
        optimizer = spec.at(point).build([torch.nn.Parameter(torch.zeros(1))])
        if isinstance(optimizer, Optimizer):
            program = optimizer.program()
            return Formula(tuple(formula_lines(program)), formula_mathml(program), source)
    return Formula(source=source)
