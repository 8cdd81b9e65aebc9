"""The numbers of a step: what passes are given, from step counts, hyperparameters, kept numbers, and sums over tensors.

If all batches are on devices, they are tensors there; otherwise all of them are on the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ravine.backends import Batch, Numbers, Staged, Sums, number_dtype, to_device
from ravine.backends._sparse_rows import count_bad
from ravine.formula import Program
from ravine.formula._passes import Reduction
from ravine.optim._engine.group import GroupPlan
from ravine.optim._engine.kept_numbers import KeptNumbers
from ravine.optim._engine.step_counts import StagedSteps, Steps

_PLAIN = frozenset({float, int, bool})  # numbers that are no tensors


class PlannedBatch(NamedTuple):
    """A batch, the index of its group, and the step counts and kept numbers of its parameters."""

    group: int
    batch: Batch
    steps: Steps
    kept: KeptNumbers

    @property
    def program(self) -> Program:
        """What is run."""
        return self.batch.program


class StepNumbers:
    """Makes the numbers of a plan's steps.

    Args:
        entries: the plan's batches.
        groups: the plans of the groups, with the values of hyperparameters; the list is the plan's own.
        device: a device if all batches are on devices.

    Attributes:
        whole_tensor: whether any number depends on whole tensors.
    """

    def __init__(
        self, entries: Sequence[PlannedBatch], groups: Sequence[GroupPlan], device: torch.device | None
    ) -> None:
        self._entries, self._groups, self._device = entries, groups, device
        self._levels = max((len(e.program.passes) - 1 for e in entries), default=0)
        self._sizes = [[self._size(e, name) for name in e.program.sizes] for e in entries]
        self.whole_tensor = self._levels > 0 or any(self._sizes)

    def _size(self, entry: PlannedBatch, name: str) -> Any:
        """How many numbers, rows or columns each tensor of a batch has, where the plan's numbers are."""
        sizes = [_size(p, name) for p in entry.batch.params]
        if self._device is None:
            return np.array(sizes)
        assert entry.batch.on_device is not None
        return to_device(torch.tensor(sizes, dtype=number_dtype(entry.batch.on_device)), entry.batch.on_device)

    def of_pass(self, entry: PlannedBatch, index: int, step: Any, sums: Sequence[Any]) -> Numbers | Staged:
        """The numbers of a pass, or what they are made of."""
        if isinstance(entry.steps, StagedSteps):
            counts = entry.steps
            return Staged(
                step, self._hypers(entry), tuple(sums), counts.together, entry.kept.on_device(), counts.number
            )
        hypers = self._hypers(entry)
        if self._device is not None and isinstance(step, np.ndarray) and any(map(_is_tensor, (*hypers, *sums))):
            # Counted on the host, unlike those.
            step = to_device(torch.from_numpy(step).to(number_dtype(self._device)), self._device)
        return entry.program.numbers(index, step, hypers, sums, entry.kept.now() if entry.kept else ())

    def new_kept(self, entry: PlannedBatch, step: Any, sums: Sequence[Any]) -> tuple[Any, ...]:
        """The kept numbers after the step."""
        return entry.program.new_kept(step, self._hypers(entry), sums, entry.kept.now())

    def last(self, entry: PlannedBatch, step: Any, sums: list[Any] | None, stale: bool) -> Numbers | Staged | None:
        """The numbers of the pass that writes; None if they are those of the step before.

        ``stale``: hyperparameters may be others than at the step before.
        """
        program = entry.batch.program
        if sums is None and not entry.kept and not stale and (not program.uses_step or self._repeats(entry)):
            return None
        return self.of_pass(entry, len(program.passes) - 1, step, sums or ())

    def _repeats(self, entry: PlannedBatch) -> bool:
        """Whether all that a device is given is what it was given for the step before; it counts steps itself."""
        if not isinstance(entry.steps, StagedSteps) or entry.steps.number is not None:
            return False
        return not any(map(_is_tensor, self._groups[entry.group].hypers[entry.program]))

    def _hypers(self, entry: PlannedBatch) -> tuple[Any, ...]:
        """The hyperparameters where the batch's numbers are."""
        hypers = self._groups[entry.group].hypers[entry.program]
        if self._device is None:
            if _PLAIN.issuperset(map(type, hypers)):
                return hypers
            return tuple(h.item() if isinstance(h, Tensor) else h for h in hypers)
        if not any(map(_is_tensor, hypers)):
            return hypers
        device = entry.batch.on_device
        assert device is not None
        return tuple(
            h.to(device, number_dtype(device), non_blocking=True) if isinstance(h, Tensor) else h for h in hypers
        )

    def before_writing(
        self,
        steps: Sequence[Any],
        bad: list[tuple[Tensor, int]],
        guards: list[Tensor],
        overflowed: Sequence[Tensor] = (),
    ) -> list[list[Any]]:
        """Run every pass but the last, level by level, and what torch runs between them: the sums of every batch.

        A global sum joins all batches that have its piece. On the host it stops after the first level where gradients turn
        out to be ``bad``; on a device ``guards`` say whether there are such, and ``overflowed`` what GradScaler found.
        """
        sums: list[list[Any]] = [list(sizes) for sizes in self._sizes]
        for level in range(self._levels):
            total: dict[str, Any] = {}
            rows: list[list[tuple[Any, str, bool]]] = [[] for _ in self._entries]
            called: list[tuple[PlannedBatch, Numbers | Staged]] = []
            for i, (entry, step) in enumerate(zip(self._entries, steps, strict=True)):
                if level >= len(entry.program.passes) - 1:
                    continue
                one = entry.program.passes[level]
                numbers = self.of_pass(entry, level, step, sums[i])
                if one.calls:
                    called.append((entry, numbers))
                if not one.results:
                    continue
                reduced = self._at_home(entry.batch.reduce(level, numbers))
                for reduction, row in zip(one.reductions, reduced, strict=True):
                    if not reduction.guard:
                        rows[i].append((row, _joined(reduction, entry.group), reduction.kind == "amax"))
                    elif isinstance(row, Tensor):
                        guards.append((row != 0).any())
                    else:
                        bad += [
                            (entry.batch.params[j], _bad_elements(entry.batch, int(j), row))
                            for j in np.flatnonzero(row)
                        ]
                for row, join, top in rows[i]:
                    if join:
                        total[join] = self._joined_to(total.get(join), row, top)
            if bad:
                break
            nothing = any_of([*guards, *overflowed])
            for entry, numbers in called:
                entry.batch.call(level, numbers, None if nothing is None else self._near(nothing, entry))
            for i, entry in enumerate(self._entries):
                sums[i] += [self._near(total[join], entry) if join else row for row, join, _ in rows[i]]
        return sums

    def _at_home(self, sums: Sums) -> Sums:
        """Sums where this plan's numbers are."""
        return sums.cpu().numpy() if self._device is None and isinstance(sums, Tensor) else sums

    def _joined_to(self, total: Any, row: Any, top: bool) -> Any:
        """The number of several batches, with what another has for each tensor: added up, or the largest."""
        part = row.max() if top else row.sum()
        if total is None:
            return part
        if isinstance(part, Tensor):
            part = part.to(total.device, non_blocking=True)
            return torch.maximum(total, part) if top else total + part
        return np.maximum(total, part) if top else total + float(part)

    def _near(self, total: Any, entry: PlannedBatch) -> Any:
        return total.to(entry.batch.on_device, non_blocking=True) if isinstance(total, Tensor) else total


def any_of(truths: Sequence[Tensor]) -> Tensor | None:
    """Whether any of these truth values on devices is true, on the first one's; None if there are none."""
    result: Tensor | None = None
    for truth in truths:
        result = truth if result is None else result | truth.to(result.device, non_blocking=True)
    return result


def _bad_elements(batch: Batch, which: int, found: np.ndarray) -> int:
    """How many elements of a gradient are not finite; operations on lists only find out whether there are any."""
    p = batch.params[which]
    if batch.on_device is not None and type(p.grad) is Tensor:
        return count_bad(p.grad)
    return int(found[which])


def _size(p: Tensor, name: str) -> float:
    if name == "numel":
        return float(p.numel() * (2 if p.is_complex() else 1))
    if name == "resolution":
        return torch.finfo(p.dtype).eps
    return float(p.shape[-2 if name == "rows" else -1]) if p.ndim > 1 else math.nan


def _joined(reduction: Reduction, group: int) -> str:
    """Under which name a sum is added to those of other batches; empty if it is of one tensor."""
    return {"tensor": "", "group": f"{reduction.join} of group {group}", "all": reduction.join}[reduction.over]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
