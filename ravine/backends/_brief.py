"""Looking at everything costs time where no cache holds a step's memory: most steps of large batches are looked at in brief.

Such a step has the figures of gradients only: their norm, and what is not finite. Which steps these are, the record says
(``Record.in_full``). On the host kernels leave the other figures out; on a device, where they wait in a buffer, what stands for
them is no figure, and the record knows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.backends import STATISTICS, statistic
from ravine.formula import Program

#: From so many elements on no cache holds a step's memory.
LARGE = 1 << 22
#: The figures that a brief look has not: squares stand together, and so do largest magnitudes.
_SQUARES = [i for i, s in enumerate(STATISTICS) if s.name.endswith("_square") and s.name != "grad_square"]
_MAXIMA = statistic(reduce="max")
#: What stands for a largest magnitude that nobody looked for; for a square, which the record leaves out if it is not finite, NaN.
_NONE = -1.0


class Looks:
    """Part of a batch: whether it looks at all of a step. One that never says ``_is_large`` always does."""

    _large = False
    brief = False

    def _is_large(self, program: Program, params: Sequence[Tensor], watched: bool) -> bool:
        """Whether looking at all of every step of these would cost time."""
        elements = sum(p.numel() * (2 if p.is_complex() else 1) for p in params)
        return watched and elements >= LARGE and "param" in program.passes[-1].writes

    @property
    def may_be_brief(self) -> bool:
        return self._large

    def look(self, in_full: bool) -> None:
        self.brief = self.may_be_brief and not in_full


class BriefSteps:
    """Which steps in a buffer were looked at in brief.

    Args:
        steps: how many the buffer holds.
    """

    def __init__(self, steps: int) -> None:
        self._brief = [False] * steps

    def note(self, index: int, brief: bool) -> None:
        self._brief[index] = brief

    def mark(self, figures: Tensor) -> Tensor:
        """Put what is no figure where a brief look has none.

        Args:
            figures: of the first steps in the buffer, shape (steps, len(STATISTICS), parameters); it is changed.
        """
        first = 0
        for index in range(len(figures) + 1):  # some steps at a time: each takes two operations on a device
            if index < len(figures) and self._brief[index]:
                continue
            if index > first:
                _erase(figures[first:index])
            first = index + 1
        return figures


def _erase(figures: Tensor) -> None:
    figures[:, _SQUARES[0] : _SQUARES[-1] + 1] = math.nan
    figures[:, _MAXIMA[0] : _MAXIMA[-1] + 1] = _NONE


def no_figures(like: Tensor) -> Tensor:
    """What stands for figures where nobody ever looked, in that shape: (steps, len(STATISTICS), parameters)."""
    made = torch.zeros_like(like)
    _erase(made)
    return made


def without_figures(figures: Tensor) -> Tensor:
    """Where a step was looked at in brief: truth values of shape (steps, parameters)."""
    return figures[:, _MAXIMA[0]] < 0
