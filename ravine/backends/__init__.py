"""Backends run a program over tensors. This file is the contract; read it first.

A *batch* is a set of parameters that one backend steps together with one program. Every backend has the same
face (``Batch`` below), and the optimizer drives them all alike::

    for every batch:  gather()                      look at the gradients; nothing is written yet
    for every pass that sums:
        for every batch:  reduce(index, numbers)    sums over each tensor
    for every batch:  write(numbers, slot)          new parameters and states

``numbers`` are what ``Program.numbers`` gave for that pass: each is one number for all parameters of the batch
or an array with one per parameter. A batch that watches keeps the figures of ``WATCHED`` for each ``slot`` until
they are asked for.

eager/    torch operations: any device, dtype and tensor subclass; the meaning of a formula
numba/    CPU: one compiled loop, all tensors of a batch in one call
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from ravine.formula import Program

#: What the optimizer keeps for one parameter: its states by name.
States = dict[str, torch.Tensor]

#: What is known of a parameter after a step, in this order: sums of squares of the gradient, of the parameter before
#: the step and of what the step added to it; their largest magnitudes; how many elements of the gradient are NaN or
#: infinite; and 1 if it was stepped, else 0.
WATCHED = (
    "grad_square", "param_square", "update_square", "grad_max", "param_max", "update_max", "nonfinite", "steps",
)  # fmt: skip


class Batch(Protocol):
    """Parameters that are stepped together.

    Attributes:
        program: what is run.
        params: the parameters.
        states: what is kept for each of them.
        active: after ``gather``, None if every parameter has a gradient, else one truth value for each.
    """

    program: Program
    params: list[torch.Tensor]
    states: list[States]
    active: np.ndarray | None

    def gather(self) -> bool:
        """Take this step's gradients; False if tensors moved or changed, and the batch must be made anew."""

    def reduce(self, index: int, numbers: tuple[Any, ...]) -> np.ndarray:
        """Sums of squares of pass ``index``: float64, one row per sum, one column per parameter."""

    def write(self, numbers: tuple[Any, ...] | None, slot: int = 0) -> None:
        """Run the last pass; None stands for the numbers of the step before."""

    def watched(self, slots: int) -> torch.Tensor:
        """The figures of the first so many slots, shape (slots, len(WATCHED), parameters), of this process's parts."""


def compute_dtype(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    """The dtype a program is computed in: float64 if any tensor is, else float32 (16-bit tensors too)."""
    wide = any(d in (torch.float64, torch.complex128) for d in dtypes)
    return torch.float64 if wide else torch.float32
