"""The plan of a step: which program runs on which tensors by which backend.

Made from the optimizer's groups and states, used for as many steps as nothing moves, and made anew when something
does: a tensor replaced, a parameter that gets its first gradient, a hyperparameter that changes the formula.

If all batches are on devices, nothing of a step comes to the host: sums, numbers and step counts are tensors, and
whether a step is skipped is a truth value there. Otherwise all of it is on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from ravine._compat.torch import is_fake
from ravine.backends import STATISTICS, Batch, Numbers, Staged, Sums, number_dtype, statistic, to_device
from ravine.backends._foreach import Foreach
from ravine.backends.cpu import CHUNK
from ravine.errors import BackendError
from ravine.formula import Program
from ravine.formula._program import Reduction
from ravine.optim._engine.batches import batches_of
from ravine.optim._engine.group import GroupReader
from ravine.optim._engine.kept_numbers import KeptNumbers
from ravine.optim._engine.kernels import captured
from ravine.optim._engine.prepare import prepare, stepped
from ravine.optim._engine.step_counts import DeviceSteps, StagedSteps, Steps, host_steps
from ravine.optim._engine.version import TrackedState, TrackedStates, Version
from ravine.optim._hyperparameters import WHOLE

(_GRAD_SQUARE,), (_GRAD_MAX,) = statistic("grad_square"), statistic("grad_max")
#: Steps whose statistics are kept as the kernel gave them: so many numbers that they stay in a cache.
_SLOTS, _FEWEST_SLOTS, _NUMBERS_KEPT = 64, 8, 1 << 18


class _PlannedBatch(NamedTuple):
    """A batch, the index of its group, and the step counts and kept numbers of its parameters."""

    group: int
    batch: Batch
    steps: Steps
    kept: KeptNumbers


class Plan:
    """What ``Optimizer.step`` runs.

    Args:
        reader: reads the groups.
        groups: the optimizer's groups.
        extra: the hyperparameters from elsewhere (``grad_scale``) that this plan reads.
        state: the optimizer's state, by parameter; states that are missing are made.
        version: what tells this plan that it no longer holds.
        describe: names a parameter for errors.
        watch: whether statistics of the steps are kept.

    Attributes:
        recorded: whether a CUDA graph captured one of its steps, and needs its memory.
        fake: whether tensors have no values (``FakeTensorMode``): steps are made as on a device, and nothing is counted.

    Raises:
        ParameterError, BackendError: a parameter cannot be stepped; the state is as it was.
        OptionError, FormulaError: a group is wrong.
    """

    def __init__(
        self,
        reader: GroupReader,
        groups: Sequence[dict[str, Any]],
        extra: Mapping[str, Any],
        state: TrackedState,
        version: Version,
        describe: Callable[[Tensor], str],
        watch: bool = False,
    ) -> None:
        self._reader, self._dicts, self._state, self._version = reader, list(groups), state, version
        self.extra = dict(extra)
        self.groups = [reader.plan(g, extra, _where(i)) for i, g in enumerate(groups)]
        # Everything is looked at before anything is kept.
        prepared = [
            [prepare(p, plan.program, plan.fused, state, describe) for p in stepped(plan.snapshot.params, state)]
            for plan in self.groups
        ]
        for each in chain.from_iterable(prepared):
            state[each.param] = TrackedStates(each.states, version, each.param.dtype)
        params = [each.param for each in chain.from_iterable(prepared)]
        self.fake = any(map(is_fake, params))
        self.buffer_size = _buffer_size(params) if watch and not self.fake else 0
        self.buffer_index = 0
        self._scales: list[float | Tensor] = [1.0] * self.buffer_size
        made = [
            (i, batch)
            for i, plan in enumerate(self.groups)
            for batch in batches_of(plan.program, prepared[i], state, plan.fused, self.buffer_size)
        ]
        devices = [batch.on_device for _, batch in made]
        self._any_device = any(device is not None for device in devices)
        self.device = devices[0] if devices and None not in devices else None
        skips = bool(extra) or reader.guarded
        self._entries = [
            _PlannedBatch(i, batch, self._steps(batch, skips), self._kept(batch, self._dicts[i])) for i, batch in made
        ]
        self._levels = max((len(self.groups[e.group].program.passes) - 1 for e in self._entries), default=0)
        self._numels = [self._numel(e) if self.groups[e.group].program.uses_numel else None for e in self._entries]
        self._whole_tensor = self._levels > 0 or any(numel is not None for numel in self._numels)
        self._stale = True  # whether batches have yet to be given the hyperparameters
        self._read = True  # whether all groups were read with the same ``extra``
        taken = set(map(id, params))
        self._idle = [p for plan in self.groups for p in plan.snapshot.params if id(p) not in taken]
        # The memory that addresses stand for lives as long as they are used, whatever becomes of the tensors.
        values = chain.from_iterable(d.values() for d in state.values() if isinstance(d, dict))
        self._storages = [v.untyped_storage() for v in values if type(v) is Tensor]
        self.recorded = False
        self._graph_hypers: list[Any] = []
        self._made_at = version.number

    def _steps(self, batch: Batch, skips: bool) -> Steps:
        """The step counts of a batch: on its device, where only that knows whether a step was skipped."""
        if self.device is None or batch.on_device is None or (isinstance(batch, Foreach) and not skips):
            return host_steps(batch.states)
        kind = StagedSteps if batch.makes_numbers and not batch.program.kept else DeviceSteps
        return kind(batch.states, batch.on_device)

    def _kept(self, batch: Batch, group: dict[str, Any]) -> KeptNumbers:
        """The kept numbers of a batch, where the plan's numbers are."""
        return KeptNumbers(batch.program, batch.states, group, None if self.device is None else batch.on_device)

    def _numel(self, entry: _PlannedBatch) -> Any:
        """How many numbers each tensor of a batch is made of, where the plan's numbers are."""
        sizes = [float(p.numel() * (2 if p.is_complex() else 1)) for p in entry.batch.params]
        if self.device is None:
            return np.array(sizes)
        assert entry.batch.on_device is not None
        return to_device(torch.tensor(sizes, dtype=number_dtype(entry.batch.on_device)), entry.batch.on_device)

    # --- does it hold? ------------------------------------------------------------------------------------------

    def ready(self, groups: Sequence[dict[str, Any]], state: Mapping[Any, Any], extra: Mapping[str, Any]) -> bool:
        """Take this step's gradients and hyperparameters; False if the plan does not hold any more. Writes nothing.

        After False or an error it may be asked again.
        """
        # Plain loops: this runs at every step, and a generator costs more than what it asks here.
        if self._version.number != self._made_at or state is not self._state or len(extra) != len(self.extra):
            return False
        if len(groups) != len(self._dicts):
            return False
        same = self._read
        if extra:
            same = same and all(not isinstance(v, Tensor) and v == self.extra.get(n) for n, v in extra.items())
            self.extra.update(extra)
        self._read = False
        for i, group in enumerate(groups):
            if group is not self._dicts[i]:
                return False
            if same and self._reader.unchanged(group, self.groups[i].snapshot):
                continue
            if not WHOLE.isdisjoint(group):
                return False
            before, now = self.groups[i], self._reader.plan(group, extra, _where(i), self.groups[i])
            if now is before:
                continue
            params = len(now.snapshot.params) == len(before.snapshot.params) and all(
                a is b for a, b in zip(now.snapshot.params, before.snapshot.params, strict=True)
            )
            if not params or now.program is not before.program or now.fused is not before.fused:
                return False
            self.groups[i], self._stale = now, True
        self._read = True
        for p in self._idle:
            if p.grad is not None:
                return False
        for entry in self._entries:  # noqa: SIM110
            if not entry.batch.gather():
                return False
        return True

    # --- a step -------------------------------------------------------------------------------------------------

    def captured(self, raises: bool) -> bool:
        """Whether a CUDA graph captures this step (``kernels.captured``): then ``recorded`` stays true."""
        if not self._any_device:
            return False
        batches = [e.batch for e in self._entries]
        try:
            found = captured(batches, raises)
        except BackendError:
            self.release()
            raise
        if found:  # it is replayed on this memory, whatever becomes of the tensors
            self.recorded = True
            params = chain.from_iterable(batch.params for batch in batches)
            self._storages += [p.untyped_storage() for p in params if type(p) in (Tensor, Parameter)]
            self._graph_hypers += [plan.hypers for plan in self.groups]
        return found

    def run(
        self, found_inf: Tensor | None = None, recorded: bool = False
    ) -> tuple[list[tuple[Tensor, int]], Tensor | None]:
        """Write the new parameters and states.

        Args:
            found_inf: on a device: not 0 if GradScaler wants this step to change nothing.
            recorded: whether a CUDA graph captures the step.

        Returns:
            The parameters whose gradients are not finite, with the number of such elements, where programs are
            guarded; nothing was written if there are any. On a device: none, and the truth value there that a
            gradient was not finite, or None if nobody looked.
        """
        steps = [e.steps.next(e.batch.active) for e in self._entries]
        bad: list[tuple[Tensor, int]] = []
        guards: list[Tensor] = []
        sums = self._reduce(steps, bad, guards) if self._whole_tensor else None
        if bad:
            self.release()
            return bad, None
        nonfinite = None
        for guard in guards:
            nonfinite = guard if nonfinite is None else nonfinite | guard.to(nonfinite.device, non_blocking=True)
        skip = nonfinite
        if found_inf is not None:
            skip = found_inf.reshape(()) != 0 if skip is None else skip | (found_inf.reshape(()) != 0).to(skip.device)
        # All numbers first: what fails, fails before anything is written.
        given = [
            self._last_numbers(e, step, sums[i] if sums else None)
            for i, (e, step) in enumerate(zip(self._entries, steps, strict=True))
        ]
        kept = [
            (e, self._new_kept(e, step, sums[i] if sums else ()))
            for i, (e, step) in enumerate(zip(self._entries, steps, strict=True))
            if e.kept
        ]
        for entry, numbers in zip(self._entries, given, strict=True):
            here = None if skip is None else skip.to(entry.batch.on_device, non_blocking=True)
            entry.steps.count(entry.batch.active, here)
            entry.batch.write(numbers, self.buffer_index, here)
        for entry, values in kept:
            here = None if skip is None else skip.to(entry.batch.on_device, non_blocking=True)
            entry.kept.put(values, entry.batch.active, here)
        self._stale = False
        # Statistics of a graph's replays would not be counted: nothing of them comes here.
        if self.buffer_size and not recorded:
            scale = self.extra.get("grad_scale", 1.0)
            # GradScaler changes its scale in place.
            self._scales[self.buffer_index] = scale.clone() if isinstance(scale, Tensor) else scale
            self.buffer_index += 1
        return bad, nonfinite

    def _numbers(self, entry: _PlannedBatch, index: int, step: Any, sums: Sequence[Any]) -> Numbers | Staged:
        """The numbers of a pass, or what they are made of."""
        if isinstance(entry.steps, StagedSteps):
            return Staged(step, self._hypers(entry), tuple(sums))
        program = self.groups[entry.group].program
        return program.numbers(index, step, self._hypers(entry), sums, entry.kept.now() if entry.kept else ())

    def _new_kept(self, entry: _PlannedBatch, step: Any, sums: Sequence[Any]) -> tuple[Any, ...]:
        """The kept numbers after the step."""
        return self.groups[entry.group].program.new_kept(step, self._hypers(entry), sums, entry.kept.now())

    def _last_numbers(self, entry: _PlannedBatch, step: Any, sums: list[Any] | None) -> Numbers | Staged | None:
        """The numbers of the pass that writes; None if they are those of the step before."""
        program = self.groups[entry.group].program
        if sums is None and not program.uses_step and not entry.kept and not self._stale:
            return None
        return self._numbers(entry, len(program.passes) - 1, step, sums or ())

    def _hypers(self, entry: _PlannedBatch) -> tuple[Any, ...]:
        """The hyperparameters where the batch's numbers are."""
        hypers = self.groups[entry.group].hypers
        if self.device is None:
            return tuple(h.item() if isinstance(h, Tensor) else h for h in hypers)
        if not any(map(_is_tensor, hypers)):
            return hypers
        device = entry.batch.on_device
        assert device is not None
        return tuple(
            h.to(device, number_dtype(device), non_blocking=True) if isinstance(h, Tensor) else h for h in hypers
        )

    def _reduce(self, steps: Sequence[Any], bad: list[tuple[Tensor, int]], guards: list[Tensor]) -> list[list[Any]]:
        """The whole-tensor sums of every batch, level by level; a global sum joins all batches that have its piece.

        On the host it stops after the first level where gradients turn out to be ``bad``; on a device ``guards`` say
        whether there are such.
        """
        sums: list[list[Any]] = [[] if numel is None else [numel] for numel in self._numels]
        for level in range(self._levels):
            total: dict[str, Any] = {}
            rows: list[list[tuple[Any, str, bool]]] = [[] for _ in self._entries]
            for i, (entry, step) in enumerate(zip(self._entries, steps, strict=True)):
                program = self.groups[entry.group].program
                reductions = program.passes[level].reductions
                if not reductions:
                    continue
                numbers = self._numbers(entry, level, step, sums[i])
                found = self._at_home(entry.batch.reduce(level, numbers))
                for reduction, row in zip(reductions, found, strict=True):
                    if not reduction.guard:
                        rows[i].append((row, _joined(reduction, entry.group), reduction.kind == "top"))
                    elif isinstance(row, Tensor):
                        guards.append((row != 0).any())
                    else:
                        bad += [(entry.batch.params[j], int(row[j])) for j in np.flatnonzero(row)]
                for row, join, top in rows[i]:
                    if join:
                        total[join] = self._joined_to(total.get(join), row, top)
            if bad:
                break
            for i, entry in enumerate(self._entries):
                sums[i] += [self._near(total[join], entry) if join else row for row, join, _ in rows[i]]
        return sums

    def _at_home(self, sums: Sums) -> Sums:
        """Sums where this plan's numbers are."""
        return sums.cpu().numpy() if self.device is None and isinstance(sums, Tensor) else sums

    def _joined_to(self, total: Any, row: Any, top: bool) -> Any:
        """The number of several batches, with what another has for each tensor: added up, or the largest."""
        part = row.max() if top else row.sum()
        if total is None:
            return part
        if isinstance(part, Tensor):
            part = part.to(total.device, non_blocking=True)
            return torch.maximum(total, part) if top else total + part
        return np.maximum(total, part) if top else total + float(part)

    def _near(self, total: Any, entry: _PlannedBatch) -> Any:
        return total.to(entry.batch.on_device, non_blocking=True) if isinstance(total, Tensor) else total

    def release(self) -> None:
        """Let go of the gradients of a step that is not made."""
        for entry in self._entries:
            entry.batch.release()

    # --- what it knows ------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether there is no room for the statistics of another step."""
        return self.buffer_index == self.buffer_size > 0

    def drain(self, columns: Mapping[int, int], width: int) -> Tensor:
        """The statistics of the steps since this was last asked, and forget them.

        Args:
            columns: where each parameter stands, by its id.
            width: how many parameters there are.

        Returns:
            float64, shape (steps, len(STATISTICS), width).
        """
        result: Tensor | None = None
        for entry in self._entries if self.buffer_index else []:
            part = entry.batch.statistics(self.buffer_index)
            chosen = [columns[id(p)] for p in entry.batch.params]
            first, count = chosen[0], len(chosen)
            together = chosen == list(range(first, first + count))
            if result is None and together and count == width:
                result = part.clone() if part.device.type != "cpu" else part
                continue
            if result is None:
                result = torch.zeros(self.buffer_index, len(STATISTICS), width, dtype=part.dtype, device=part.device)
            if together:  # a list of columns would be copied to the device, and wait for it
                result[:, :, first : first + count] = part.to(result)
            else:
                result[:, :, chosen] = part.to(result)
        if result is None:
            result = torch.zeros(self.buffer_index, len(STATISTICS), width, dtype=torch.float64, device="cpu")
        self._unscale(result)
        self.buffer_index = 0
        return result

    def _unscale(self, result: Tensor) -> None:
        """Gradients were as GradScaler had scaled them."""
        scales = self._scales[: self.buffer_index]
        if all(isinstance(s, float) and s == 1.0 for s in scales):
            return
        parts = [torch.as_tensor(s, dtype=result.dtype, device=result.device).reshape(()) for s in scales]
        scale = torch.stack(parts)[:, None, None]
        # One row by its number: a list of rows would be copied to the device, and wait for it.
        result[:, _GRAD_SQUARE] /= scale[:, 0] ** 2
        result[:, _GRAD_MAX] /= scale[:, 0]

    def bytes_moved(self) -> int:
        """Bytes that one step reads and writes over all parameters that have a state."""
        return sum(_bytes(self.groups[e.group].program, e.batch) for e in self._entries)


def _bytes(program: Program, batch: Batch) -> int:
    moved = 0
    for p, states in zip(batch.params, batch.states, strict=True):
        sizes = {"param": p.element_size(), "grad": p.element_size()}
        sizes |= {n: states[n].element_size() for n in program.states}
        moved += p.numel() * program.traffic(sizes)
    return moved


def _joined(reduction: Reduction, group: int) -> str:
    """Under which name a sum is added to those of other batches; empty if it is of one tensor."""
    return {"tensor": "", "group": f"{reduction.join} of group {group}", "all": reduction.join}[reduction.over]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _where(group: int) -> str:
    return f" (parameter group {group})"


def _buffer_size(params: Sequence[Tensor]) -> int:
    """For how many steps statistics are kept before they are combined: fewer where they take much memory."""
    chunks = sum(-(-p.numel() // CHUNK) for p in params)
    return max(_FEWEST_SLOTS, min(_SLOTS, _NUMBERS_KEPT // (len(STATISTICS) * max(1, chunks))))
