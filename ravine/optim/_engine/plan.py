"""The plan of a step: which program runs on which tensors by which backend.

Made from the optimizer's groups and states, used for as many steps as nothing moves, and made anew when something
does: a tensor replaced, a parameter that gets its first gradient, a hyperparameter that changes the formula.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from ravine.backends import WATCHED, Batch
from ravine.backends._eager import Eager
from ravine.backends._sharded import Sharded, joined, layout, part
from ravine.backends.cpu import CHUNK, Fused
from ravine.formula._program import GUARD
from ravine.optim._engine.group import GroupPlan
from ravine.optim._engine.prepare import Member, counter, member, stepped
from ravine.optim._engine.tracked import KeptStates

#: Steps whose figures are kept as the kernel gave them, and how many numbers that may be before they are fewer steps.
_SLOTS, _FEWEST_SLOTS, _NUMBERS_KEPT = 1024, 8, 1 << 18


class Steps:
    """The numbers of steps of a batch's parameters: ``state[p]['step']`` are views of one tensor."""

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        self._tensor = counter([float(s["step"]) for s in states])
        self._counts = self._tensor.numpy()
        for state, view in zip(states, self._tensor.unbind(), strict=True):
            state["step"] = view
        self._look()

    def _look(self) -> None:
        first = self._counts[0] if len(self._counts) else 0
        self._same = int(first) if (self._counts == first).all() else None
        self._version = self._tensor._version

    def next(self, active: np.ndarray | None) -> int | np.ndarray:
        """The number of the step that the active parameters are about to make, or an array where they differ."""
        if self._tensor._version != self._version:  # the user wrote to a view
            self._look()
        if self._same is not None and active is None:
            return self._same + 1
        counts = np.maximum(self._counts + (1 if active is None else active), 1.0).astype(np.float64)
        return int(counts[0]) if len(counts) and (counts == counts[0]).all() else counts

    def count(self, active: np.ndarray | None) -> None:
        """That step was made."""
        if active is None:
            self._counts += 1
            if self._same is not None:
                self._same += 1
        else:
            self._counts += active
            self._look()


class Plan:
    """What ``Optimizer.step`` runs.

    Args:
        groups: the plan of every group, without batches yet.
        extra: the hyperparameters from elsewhere that these plans read.
        state: the optimizer's state, by parameter; states that are missing are made.
        describe: names a parameter for errors.
        kinds: dtype and device that each parameter had in the plan before; updated.
        watch: whether figures of the steps are kept.

    Raises:
        ParameterError, BackendError: a parameter cannot be stepped; the state is as it was.
    """

    def __init__(
        self,
        groups: Sequence[GroupPlan],
        extra: dict[str, float],
        state: dict[torch.Tensor, dict[str, Any]],
        describe: Callable[[torch.Tensor], str],
        kinds: dict[torch.Tensor, tuple[torch.dtype, torch.device]],
        watch: bool = False,
    ) -> None:
        self.groups, self.extra = list(groups), extra
        self._unchanged = [True]
        # Everything is looked at before anything is kept.
        found = [
            [member(p, g.program, g.fused, state, describe, kinds) for p in stepped(g.params, state)]
            for g in self.groups
        ]
        for members in found:
            for m in members:
                state[m.param] = KeptStates(m.states, self._unchanged)
                kinds[m.param] = (m.param.dtype, m.param.device)
        self.slots = _slots([m.param for members in found for m in members]) if watch else 0
        self.slot, self._scales = 0, [1.0] * self.slots
        for g, members in zip(self.groups, found, strict=True):
            g.batches = list(_batches(g, members, state, self.slots))
        self._all = [(g, batch, steps) for g in self.groups for batch, steps in g.batches]
        self._reductions = max((len(g.program.passes) - 1 for g in self.groups if g.batches), default=0)
        # What must still be there for the plan to hold.
        taken = {id(m.param) for members in found for m in members}
        self._idle = [p for g in self.groups for p in g.params if id(p) not in taken]
        self._state, self._dicts = state, list(state.values())
        self._unchanged.append(True)  # making the batches set the step counts
        # The memory that addresses stand for lives as long as they are used, whatever becomes of the tensors.
        values = chain.from_iterable(d.values() for d in self._dicts if isinstance(d, dict))
        self._storages = [v.untyped_storage() for v in values if type(v) is torch.Tensor]

    def ready(self, groups: Sequence[dict[str, Any]], state: Mapping[Any, Any]) -> bool:
        """Take this step's gradients and hyperparameters; False if the plan does not hold any more. Writes nothing."""
        # Plain loops: this runs at every step, and a generator costs more than what it asks here.
        if len(groups) != len(self.groups) or not self._same_state(state):
            return False
        for group, mine in zip(groups, self.groups, strict=True):
            if group is not mine.group or not mine.refresh():
                return False
        for p in self._idle:
            if p.grad is not None:
                return False
        return all(batch.gather() for _, batch, _ in self._all)

    def _same_state(self, state: Mapping[Any, Any]) -> bool:
        """Whether every state is the one that was there: users replace, reset and move states between steps."""
        return (
            bool(self._unchanged)
            and state is self._state
            and len(state) == len(self._dicts)
            and all(map(operator.is_, state.values(), self._dicts))
        )

    def asks_for_states(self) -> bool:
        """Whether every learning rate and every gradient is 0, and there are both."""
        rates = [dict(zip(g._names, g._values, strict=True)).get("lr", 1.0) for g in self.groups]
        grads = [p.grad.detach() for _, batch, _ in self._all for p in batch.params if p.grad is not None]
        # A gradient counts as a whole, because every process must see the same.
        return not any(rates) and bool(grads) and all(float(joined(g.abs().sum())) == 0 for g in grads)

    def run(self) -> list[tuple[torch.Tensor, int]]:
        """Write the new parameters and states.

        Returns:
            The parameters whose gradients are not finite, with the number of such elements, where programs are
            guarded; nothing was written if there are any.
        """
        stepped = [(g, batch, steps.next(batch.active)) for g, batch, steps in self._all]
        bad: list[tuple[torch.Tensor, int]] = []
        sums = self._reduce(stepped, bad) if self._reductions else None
        if bad:
            return bad
        for _, batch, steps in self._all:
            steps.count(batch.active)
        for i, (g, batch, step) in enumerate(stepped):
            program = g.program
            if sums is None and not program.uses_step and not g.changed:
                batch.write(None, self.slot)
            else:
                numbers = program.numbers(len(program.passes) - 1, step, g.hypers, sums[i] if sums else ())
                batch.write(numbers, self.slot)
        for g in self.groups:
            g.changed = False
        if self.slots:
            self._scales[self.slot] = self.extra.get("grad_scale", 1.0)
            self.slot += 1
        return bad

    @property
    def full(self) -> bool:
        """Whether there is no room for the figures of another step."""
        return self.slot == self.slots > 0

    def take(self, columns: Mapping[torch.Tensor, int], width: int) -> torch.Tensor:
        """The figures of the steps since they were last taken, shape (steps, len(WATCHED), width), and forget them.

        Args:
            columns: where each parameter stands.
            width: how many parameters there are.
        """
        figures = torch.zeros(self.slot, len(WATCHED), width, dtype=torch.float64, device="cpu")
        for _, batch, _ in self._all if self.slot else []:
            found = batch.watched(self.slot)
            if found.device != figures.device:
                figures = figures.to(found.device, found.dtype)
            figures[:, :, [columns[p] for p in batch.params]] = found
        scales = self._scales[: self.slot]
        if scales.count(1.0) < len(scales):
            scale = torch.tensor(scales, dtype=figures.dtype, device=figures.device)[:, None]
            figures[:, WATCHED.index("grad_square")] /= scale**2
            figures[:, WATCHED.index("grad_max")] /= scale
        self.slot = 0
        return figures

    def _reduce(
        self, stepped: Sequence[tuple[GroupPlan, Batch, Any]], bad: list[tuple[torch.Tensor, int]]
    ) -> list[list[Any]]:
        """The whole-tensor sums of every batch, level by level; a global sum joins all batches that have its piece.

        Stops after the first level where gradients turn out to be ``bad``.
        """
        sums: list[list[Any]] = [[] for _ in stepped]
        for level in range(self._reductions):
            total: dict[str, float] = defaultdict(float)
            mine: list[tuple[int, np.ndarray, tuple[str, ...]]] = []
            for i, (g, batch, step) in enumerate(stepped):
                p = g.program.passes[level]
                if not p.writes:
                    found = batch.reduce(level, g.program.numbers(level, step, g.hypers, sums[i]))
                    joins = p.joins
                    if GUARD in p.names:
                        counts, found, joins = found[-1], found[:-1], joins[:-1]
                        bad += [(batch.params[j], int(counts[j])) for j in np.flatnonzero(counts)]
                    mine.append((i, found, joins))
                    for row, join in zip(found, joins, strict=True):
                        total[join] += float(row.sum())
            if bad:
                break
            for i, found, joins in mine:
                sums[i] += [total[join] if join else row for row, join in zip(found, joins, strict=True)]
        return sums

    def bytes_moved(self) -> int:
        """Bytes that one step reads and writes over all parameters that have a state."""
        moved = 0
        for g, batch, _ in self._all:
            for p, states in zip(batch.params, batch.states, strict=True):
                sizes = {"param": p.element_size(), "grad": p.element_size()}
                sizes |= {n: states[n].element_size() for n in g.program.states}
                moved += p.numel() * g.program.traffic(sizes)
        return moved


def _slots(params: Sequence[torch.Tensor]) -> int:
    """For how many steps figures are kept before they are summed: fewer where they take much memory."""
    chunks = sum(-(-p.numel() // CHUNK) for p in params)
    return max(_FEWEST_SLOTS, min(_SLOTS, _NUMBERS_KEPT // (len(WATCHED) * max(1, chunks))))


def _batches(
    g: GroupPlan, members: Sequence[Member], state: Mapping[torch.Tensor, dict[str, Any]], slots: int
) -> Iterator[tuple[Batch, Steps]]:
    """The members of a group as batches with their step counts; those that are split over processes are one batch."""
    whole = [Member(m.param, state[m.param], m.reason) for m in members if not layout(m.param)]
    for _, batch in _by_backend(g, whole, slots):
        yield batch, Steps(batch.states)
    if split := [m for m in members if layout(m.param)]:
        params, states = [m.param for m in split], [state[m.param] for m in split]
        here = [Member(part(m.param), {n: part(m.states[n]) for n in g.program.states}, m.reason) for m in split]
        parts = list(_by_backend(g, here, slots))
        yield Sharded(g.program, params, states, [m.param for m in here], parts), Steps(states)


def _by_backend(g: GroupPlan, members: Sequence[Member], slots: int) -> Iterator[tuple[list[int], Batch]]:
    """Batches and the indices of their members: one for each combination of dtypes and layout, and one for eager."""
    kernels: dict[Any, list[int]] = defaultdict(list)
    eager: list[int] = []
    for i, m in enumerate(members):
        p, grad = m.param, m.param.grad
        if m.reason or g.fused is False:
            eager.append(i)
        else:
            dtypes = [m.states[n].dtype for n in g.program.states]
            kernels[p.dtype if grad is None else grad.dtype, p.dtype, *dtypes, p.is_contiguous()].append(i)
    params, states = [m.param for m in members], [m.states for m in members]
    for key, indices in kernels.items():
        yield indices, Fused(g.program, [params[i] for i in indices], [states[i] for i in indices], key[0], slots)
    if eager:
        yield eager, Eager(g.program, [params[i] for i in eager], [states[i] for i in eager], slots)
