"""Steps several optimizers at once, each with parameters, hyperparameters and states of its own.

Those whose formulas are one program, that has no whole-tensor numbers, take one kernel call together: the kernel reads
numbers per tensor. A tensor gets the numbers that it would get alone, from the same Python floats, so its bits do not
depend on which others there are. Any other optimizer makes its own step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.backends.cpu import Fused
from ravine.errors import BackendError
from ravine.formula import Program
from ravine.optim._engine.group import GroupPlan, GroupReader
from ravine.optim._engine.prepare import prepare
from ravine.optim._engine.step_counts import host_steps
from ravine.optim._optimizer import Optimizer

_SLOTS = 64  # steps whose statistics are kept as the kernel gave them


class StackedStep:
    """Steps optimizers together.

    Args:
        optimizers: each with its own parameters, that have their gradients: tensors on the CPU. Gradients stay at their
            addresses from step to step, and hyperparameters as they are until ``refresh``.

    Raises:
        ParameterError, BackendError, OptionError: as the first step of one of the optimizers would.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._optimizers = list(optimizers)
        self._alive = [True] * len(self._optimizers)
        members: dict[Any, list[_Member]] = defaultdict(list)
        self._alone: list[int] = []
        for i, optimizer in enumerate(self._optimizers):
            member = _member(i, optimizer)
            if member is None:
                self._alone.append(i)
            else:
                members[member.key].append(member)
        self._joined: list[_Joined] = []
        for some in members.values():
            try:
                self._joined.append(_Joined(some))
            except BackendError:  # no kernel can be compiled
                self._alone += [m.index for m in some]
        self._place = {m.index: (joined, at) for joined in self._joined for at, m in enumerate(joined.members)}

    def __repr__(self) -> str:
        return f"StackedStep({len(self._place)} together, {len(self._alone)} alone)"

    def __call__(self) -> None:
        """One step of every optimizer that has not been stopped."""
        for joined in self._joined:
            joined.step()
        for i in self._alone:
            if self._alive[i]:
                self._optimizers[i].step()

    def refresh(self) -> None:
        """Read the hyperparameters again: somebody has changed them.

        Raises:
            OptionError: one has an impossible value.
        """
        for joined in self._joined:
            joined.refresh()

    def stop(self, index: int) -> None:
        """Make no more steps with this optimizer; what is written to its parameters from now on means nothing."""
        if self._alive[index] and index in self._place:
            joined, at = self._place[index]
            joined.stop(at)
        self._alive[index] = False

    def flush(self) -> None:
        """Let every optimizer's ``watch`` know of all its steps."""
        for joined in self._joined:
            joined.flush()


class _Member:
    """An optimizer whose step others can share.

    Attributes:
        index: its number.
        key: what those have in common that share a step.
    """

    def __init__(self, index: int, optimizer: Optimizer, reader: GroupReader, plan: GroupPlan) -> None:
        self.index, self.optimizer, self._reader, self.plan = index, optimizer, reader, plan
        self.group = optimizer.param_groups[0]
        # Kernels work on addresses: what they write must have the dtypes that they were made for.
        kept = plan.programs[None].states
        kinds = tuple(
            (p.dtype, p.is_contiguous(), *(optimizer.state[p][name].dtype for name in kept)) for p in self.params
        )
        self.key = (plan.programs[None], kinds[0] if len(set(kinds)) == 1 else kinds, optimizer._monitor.watch)

    @property
    def params(self) -> tuple[Tensor, ...]:
        """Its parameters."""
        return self.plan.snapshot.params

    def refresh(self) -> None:
        """Read the hyperparameters again."""
        if not self._reader.unchanged(self.group, self.plan.snapshot):
            now = self._reader.plan(self.group, {}, "", self.plan)
            assert now.programs == self.plan.programs, "a hyperparameter that changes the formula during a training"
            self.plan = now


def _member(index: int, optimizer: torch.optim.Optimizer) -> _Member | None:
    """The optimizer as one whose step others can share; None if they cannot."""
    if not isinstance(optimizer, Optimizer) or type(optimizer).step is not Optimizer.step:
        return None
    group, monitor = optimizer.param_groups[0], optimizer._monitor
    if len(optimizer.param_groups) > 1 or monitor.guarded or group.get("fused") is False:
        return None
    reader = optimizer._reader()
    plan = reader.plan(group, {}, "")
    if None not in plan.programs or plan.programs[None].of_bfloat16 is not None:
        return None
    program = plan.programs[None]
    own_numbers = len(program.passes) > 1 or program.sizes or program.kept or program.along
    if own_numbers or any(isinstance(h, Tensor) for h in plan.hypers[program]) or not plan.snapshot.params:
        return None
    storage = optimizer._storage
    storage.check([program])
    known = plan.fused, optimizer.state, optimizer._describe, storage
    prepared = [prepare(p, program, *known, place) for place, p in enumerate(group["params"])]
    dtypes = {
        (
            p.dtype,
            p.is_contiguous(),
            None if p.grad is None else p.grad.dtype,
            *(e.states[n].dtype for n in program.states),
        )
        for p, e in zip(group["params"], prepared, strict=True)
    }
    if len(dtypes) > 1 or any(each.reason or each.param.grad is None for each in prepared):
        return None
    for each in prepared:
        optimizer.state[each.param] = each.states
    return _Member(index, optimizer, reader, plan)


class _Joined:
    """Optimizers of one program, whose tensors are one batch."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self.members = list(members)
        self._program: Program = members[0].plan.programs[None]
        params = [p for m in members for p in m.params]
        states = [m.optimizer.state[p] for m in members for p in m.params]
        self._slots = _SLOTS if members[0].optimizer._monitor.watch else 0
        grad = params[0].grad
        assert grad is not None
        self._batch = Fused(self._program, params, states, grad.dtype, self._slots)
        self._steps = host_steps(states)
        self._counts = [len(m.params) for m in members]
        ends = np.cumsum([0, *self._counts]).tolist()
        self._columns = [slice(a, b) for a, b in pairwise(ends)]
        self._stale = True  # whether the kernel has yet to be given the hyperparameters
        self._index, self._made = 0, 0  # steps in the buffer, and in all
        self._stopped: list[int | None] = [None] * len(members)
        for m in members:
            m.optimizer._monitor.place(m.optimizer.param_groups)

    def step(self) -> None:
        """One step of all of them."""
        made = self._steps.next(None)
        numbers = self._next_numbers(made)
        if not self._batch.gather() or self._batch.active is not None:
            raise BackendError("A parameter or a gradient is not where it was: copies of a model keep theirs.")
        self._steps.count(None, None)
        self._batch.write(numbers, self._index)
        self._made += 1
        if self._slots:
            self._index += 1
            if self._index == self._slots:
                self.flush()

    def _next_numbers(self, step: Any) -> tuple[np.ndarray, ...] | None:
        """The numbers of the pass that writes, each as an array by tensor; None if they are those of the step before."""
        if not (self._stale or self._program.uses_step):
            return None
        self._stale, last = False, len(self._program.passes) - 1
        by_member = [self._program.numbers(last, step, m.plan.hypers[self._program]) for m in self.members]
        return tuple(np.array(by_member, dtype=np.float64).T.repeat(self._counts, axis=1))

    def refresh(self) -> None:
        """Read the hyperparameters again."""
        for m in self.members:
            m.refresh()
        self._stale = True

    def stop(self, at: int) -> None:
        """What follows is no step of this one."""
        self._stopped[at] = self._made

    def flush(self) -> None:
        """Hand the statistics to the record of each."""
        if not self._index:
            return
        figures, first = self._batch.statistics(self._index), self._made - self._index
        for m, columns, stopped in zip(self.members, self._columns, self._stopped, strict=True):
            steps = self._index if stopped is None else max(0, min(self._index, stopped - first))
            m.optimizer._monitor.record.add(figures[:steps, :, columns].contiguous())
        self._index = 0
