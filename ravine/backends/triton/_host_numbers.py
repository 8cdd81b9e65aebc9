"""What the host knows of the numbers that are given to functions of whole tensors: one that decides by them does not wait.

Known is what follows from the number of the step, from hyperparameters on the host, and from numbers that the formula keeps,
as long as these follow from such things alone: then the host keeps them too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ravine._compat.torch import is_fake, version_of
from ravine.backends import Staged
from ravine.formula import Program
from ravine.formula._operations import REDUCTIONS
from ravine.formula._symbols import Symbol, postorder


class HostNumbers:
    """Those of one batch.

    Args:
        program: what is run.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        #: By pass: the place of each number that follows from what the host may know, and which leaves it has.
        self._leaves = [
            {i: leaves for i, symbol in enumerate(p.numbers) if (leaves := _leaves([symbol])) is not None}
            for p in program.passes
        ]
        self._shared = [[_shared(symbol) for symbol in p.numbers] for p in program.passes]
        given = {a.number for p in program.passes for call in p.calls for a in call.args if a.number >= 0}
        asked = any(
            "kept" in self._leaves[k].get(i, ()) for k, p in enumerate(program.passes) for i in given if p.calls
        )
        self._kept_leaves = _leaves(program.new_kept_symbols) if asked else None
        self._keeps = self._kept_leaves is not None
        self._kept: tuple[float, ...] = ()
        self._before: int | None = None  # the number of the step before which the kept numbers are these
        self._seen: list[int] = []

    def of_pass(self, index: int, numbers: Staged) -> dict[int, float]:
        """The numbers of a pass that are known, by their places."""
        if numbers.number is None or not self._leaves[index]:
            return {}
        kept = self._kept_before(numbers) if self._keeps else [math.nan] * len(self._program.kept)
        sums = [math.nan] * len(self._program.known(index))
        values = self._program.numbers(index, float(numbers.number), _on_host(numbers.hypers), sums, kept)
        known = self._known(numbers)
        if self._keeps and not any(map(math.isnan, kept)):
            known.add("kept")
        return {i: values[i] for i, leaves in self._leaves[index].items() if leaves <= known}

    def shared(self, index: int, place: int, together: bool) -> bool:
        """Whether a number is the same for all tensors; ``together``: all have made as many steps."""
        always, of_steps = self._shared[index][place]
        return always or (of_steps and together)

    def written(self, numbers: Any, as_known: bool) -> None:
        """After the pass that writes, of all tensors (``as_known``) or of some, or of none where the step was skipped."""
        if not self._keeps:
            return
        if not (
            as_known and isinstance(numbers, Staged) and self._before is not None and numbers.number == self._before
        ):
            self._before = None
            return
        if self._kept_leaves is None or not self._kept_leaves <= self._known(numbers) | {"kept"}:
            self._before = None  # what a comparison makes of an unknown number looks like a known one
            return
        sums = [math.nan] * len(self._program.known(len(self._program.passes) - 1))
        new = self._program.new_kept(float(numbers.number), _on_host(numbers.hypers), sums, self._kept)
        self._kept, self._before = tuple(map(float, new)), numbers.number + 1
        self._seen = [version_of(t) for t in numbers.kept]

    def _known(self, numbers: Staged) -> set[str]:
        """What the host knows of a step, by name."""
        hypers = zip(self._program.hypers, numbers.hypers, strict=True)
        return {"step", *(name for name, h in hypers if not isinstance(h, Tensor))}

    def _kept_before(self, numbers: Staged) -> tuple[float, ...]:
        """The kept numbers before this step. Waits for the device in the first step and after the user wrote to them."""
        if self._before != numbers.number or self._seen != [version_of(t) for t in numbers.kept]:
            rows = [[math.nan] if is_fake(t) else t.tolist() for t in numbers.kept]
            self._kept = tuple(row[0] if len(set(row)) == 1 else math.nan for row in rows)
            self._before, self._seen = numbers.number, [version_of(t) for t in numbers.kept]
        return self._kept


def _on_host(hypers: Sequence[Any]) -> list[float]:
    return [math.nan if isinstance(h, Tensor) else float(np.asarray(h)) for h in hypers]


def _leaves(symbols: Sequence[Symbol]) -> frozenset[str] | None:
    """What numbers follow from: ``step``, names of hyperparameters, ``kept``; None if they need what only the device knows."""
    leaves = set()
    for s in postorder(symbols):
        if s.op in REDUCTIONS:
            return None
        if not s.args and s.op != "constant":
            if s.op not in ("number", "kept"):
                return None
            leaves.add("kept" if s.op == "kept" else s.name)
    return frozenset(leaves)


def _shared(number: Symbol) -> tuple[bool, bool]:
    """Whether a number is the same for all tensors whatever they did, and whether it is where all have made as many steps."""
    parts = list(postorder([number]))
    if any(s.op in ("numel", "kept") or (s.op in REDUCTIONS and REDUCTIONS[s.op].over == "tensor") for s in parts):
        return False, False
    return not any(s.op == "number" and s.name == "step" for s in parts), True
