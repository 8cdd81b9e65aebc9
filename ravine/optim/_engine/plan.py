"""The plan of a step: which program runs on which tensors by which backend.

Made from the optimizer's groups and states, used for as many steps as nothing moves, and made anew when something
does: a tensor replaced, a parameter that gets its first gradient, a hyperparameter that changes the formula.

If all batches are on devices, nothing of a step comes to the host: sums, numbers and step counts are tensors, and
whether a step is skipped is a truth value there. Otherwise all of it is on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from ravine import backends
from ravine._compat.torch import is_fake
from ravine.backends import STATISTICS, Batch, statistic, to_device
from ravine.backends.cpu import CHUNK
from ravine.backends.cpu._record_rows import RecordRows
from ravine.errors import BackendError
from ravine.formula import Program
from ravine.optim._engine.batches import batches_of, bytes_moved
from ravine.optim._engine.group import GroupPlan, GroupReader, all_of
from ravine.optim._engine.kept_numbers import KeptNumbers
from ravine.optim._engine.kernels import captured
from ravine.optim._engine.prepare import PreparedParam, prepare, stepped
from ravine.optim._engine.state_storage import StateStorage, places_of
from ravine.optim._engine.step_counts import DeviceSteps, StagedSteps, Steps, host_steps
from ravine.optim._engine.step_numbers import PlannedBatch, StepNumbers, any_of
from ravine.optim._engine.version import TrackedState, TrackedStates, Version
from ravine.optim._hyperparameters import WHOLE

(_GRAD_SQUARE,), (_GRAD_MAX,) = statistic("grad_square"), statistic("grad_max")
#: Steps whose statistics are kept as the kernel gave them: so many numbers that they stay in a cache.
_SLOTS, _FEWEST_SLOTS, _NUMBERS_KEPT = 64, 8, 1 << 18


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
        storage: how states are kept.

    Attributes:
        recorded: whether a CUDA graph captured one of its steps, and needs its memory.
        in_full: the number, from 1, of the last of the steps that wait here that was looked at in full; 0: none was.
        rows: what adds steps to a record, if ``add_to_rows`` was asked for that.
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
        watch: bool,
        storage: StateStorage,
    ) -> None:
        self._reader, self._dicts, self._state, self._version = reader, list(groups), state, version
        self.extra = dict(extra)
        self.groups = [reader.plan(g, extra, _where(i)) for i, g in enumerate(groups)]
        # Everything is looked at before anything is kept.
        places = places_of(groups)
        storage.check(program for plan in self.groups for program in all_of(plan.programs))
        prepared = [
            [
                prepare(p, plan.program_of(p), plan.fused, state, describe, storage, places[id(p)])
                for p in stepped(plan.snapshot.params, state)
            ]
            for plan in self.groups
        ]
        for each in chain.from_iterable(prepared):
            state[each.param] = TrackedStates(each.states, version, each.param.dtype)
        params = [each.param for each in chain.from_iterable(prepared)]
        self.fake = any(map(is_fake, params))
        self.buffer_size = _buffer_size(params) if watch and not self.fake else 0
        self.buffer_index = 0
        self.rows: RecordRows | None = None
        self._scales: list[float | Tensor] = [1.0] * self.buffer_size
        made = [
            (i, batch)
            for i, plan in enumerate(self.groups)
            for program, some in _by_program(plan, prepared[i]).items()
            for batch in batches_of(program, some, state, plan.fused, self.buffer_size)
        ]
        devices = [batch.on_device for _, batch in made]
        self._any_device = any(device is not None for device in devices)
        self.device = devices[0] if devices and None not in devices else None
        skips = bool(extra) or reader.guarded
        self._given_tensors = any(map(_has_tensors, self.groups))
        self._entries = [PlannedBatch(i, batch, *self._counts(batch, self._dicts[i], skips)) for i, batch in made]
        self._counts_on_host = any(batch.takes_host_numbers for _, batch in made)
        self._numbers = StepNumbers(self._entries, self.groups, self.device)
        alone = len(made) == 1 and (not self._any_device or isinstance(self._entries[0].steps, StagedSteps))
        simple = alone and not self._numbers.whole_tensor
        self._alone = self._entries[0] if simple and not self._entries[0].kept else None
        self._stale = True  # whether batches have yet to be given the hyperparameters
        self._read = True  # whether all groups were read with the same ``extra``
        taken = set(map(id, params))
        self._idle = [p for plan in self.groups for p in plan.snapshot.params if id(p) not in taken]
        # The memory that addresses stand for lives as long as they are used, whatever becomes of the tensors.
        values = chain.from_iterable(d.values() for d in state.values() if isinstance(d, dict))
        self._storages = [v.untyped_storage() for v in values if type(v) is Tensor]
        self.recorded = False
        # Kernels of the CPU say it to the record by their rows.
        self._large = [b for _, b in made if b.may_be_brief and b.on_device is not None]
        self.in_full, self._brief = 0, False
        self._graph_hypers: list[Any] = []
        self._made_at = version.number

    def _counts(self, batch: Batch, group: dict[str, Any], skips: bool) -> tuple[Steps, KeptNumbers]:
        """The step counts and kept numbers of a batch: on its device, where only that knows whether a step was skipped."""
        program = batch.program
        of_group = any(one.per == "group" for one in program.kept.values())
        # What a formula keeps may depend on sums and hyperparameters, and these may be tensors there.
        on_device = of_group or program.sizes or (program.kept and (len(program.passes) > 1 or self._given_tensors))
        from_host = batch.takes_host_numbers and not skips and not on_device
        device = None if self.device is None or from_host else batch.on_device
        numbers = KeptNumbers(program, batch.states, group, device)
        if device is None:
            return host_steps(batch.states), numbers
        if not batch.makes_numbers or of_group:
            return DeviceSteps(batch.states, device), numbers
        staged = StagedSteps(batch.states, device)
        if any(one.calls for one in program.passes):  # functions that are given a number of all get tensors together
            staged.compare()
        return staged, numbers

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
            if not params or now.programs != before.programs or now.fused is not before.fused:
                return False
            if self._counts_on_host and _has_tensors(now) and not self._given_tensors:
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
        if not self._any_device or (self.device is not None and not backends.recording(self.device)):
            return False
        batches = [e.batch for e in self._entries]
        try:
            capturing = captured(batches, raises)
        except BackendError:
            self.release()
            raise
        counted = [e for e in self._entries if e.batch.active is not None and not isinstance(e.steps, StagedSteps)]
        if capturing and counted:
            self.release()
            raise BackendError(
                "a CUDA graph cannot capture a step in which parameters have no gradient, if torch's operations make it or the "
                "formula keeps a number for a group: the host says which parameters are counted. Give those without a gradient "
                "an optimizer of their own, or zeros as gradients"
            )
        if capturing:  # it is replayed on this memory, whatever becomes of the tensors
            self.recorded = True
            for entry in self._entries:
                if isinstance(entry.steps, StagedSteps):
                    entry.steps.forget()
            params = chain.from_iterable(batch.params for batch in batches)
            self._storages += [p.untyped_storage() for p in params if type(p) in (Tensor, Parameter)]
            self._graph_hypers += [plan.hypers for plan in self.groups]
        return capturing

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
        if self._alone is None or found_inf is not None:
            bad, nonfinite = self._write(found_inf)
            if bad:
                self.release()
                return bad, None
        else:
            bad, nonfinite = [], None
            self._write_alone(self._alone)
        self._stale = False
        # Statistics of a graph's replays would not be counted: nothing of them comes here.
        if self.buffer_size and not recorded and self.rows is None:
            scale = self.extra.get("grad_scale", 1.0)
            # GradScaler changes its scale in place.
            self._scales[self.buffer_index] = scale.clone() if isinstance(scale, Tensor) else scale
            self.buffer_index += 1
            if not self._brief:
                self.in_full = self.buffer_index
        return bad, nonfinite

    def _write_alone(self, entry: PlannedBatch) -> None:
        """``_write`` of one batch whose numbers depend on no tensor: of a small model it is what a step costs."""
        active = entry.batch.active
        numbers = self._numbers.last(entry, entry.steps.next(active), None, self._stale)
        entry.batch.write(numbers, self.buffer_index)
        entry.steps.count(active, None)

    def _write(self, found_inf: Tensor | None) -> tuple[list[tuple[Tensor, int]], Tensor | None]:
        """``run`` without what is kept of the step."""
        entries = self._entries
        steps = [e.steps.next(e.batch.active) for e in entries]
        bad: list[tuple[Tensor, int]] = []
        guards: list[Tensor] = []
        overflowed = [] if found_inf is None else [found_inf.reshape(()) != 0]
        sums: Sequence[list[Any] | None] = [None] * len(entries)
        if self._numbers.whole_tensor:
            try:
                sums = self._numbers.before_writing(steps, bad, guards, overflowed)
            except BaseException:  # of a function of whole tensors
                self.release()
                raise
            if bad:
                return bad, None
        nonfinite, skip = any_of(guards), any_of([*guards, *overflowed])
        # All numbers first: what fails, fails before anything is written.
        given = [
            self._numbers.last(e, step, known, self._stale) for e, step, known in zip(entries, steps, sums, strict=True)
        ]
        kept = [
            (e, self._numbers.new_kept(e, step, known or ()))
            for e, step, known in zip(entries, steps, sums, strict=True)
            if e.kept and not isinstance(e.steps, StagedSteps)
        ]
        for entry, numbers in zip(entries, given, strict=True):
            here = None if skip is None else skip.to(entry.batch.on_device, non_blocking=True)
            entry.batch.write(numbers, self.buffer_index, here)
            entry.steps.count(entry.batch.active, here)
        for entry, values in kept:
            here = None if skip is None else skip.to(entry.batch.on_device, non_blocking=True)
            entry.kept.put(values, entry.batch.active, here)
        return bad, nonfinite

    def release(self) -> None:
        """Let go of the gradients of a step that is not made."""
        for entry in self._entries:
            entry.batch.release()

    # --- what it knows ------------------------------------------------------------------------------------------

    def add_to_rows(self, columns: Mapping[int, int]) -> None:
        """From here steps are added to a record when they are made, and not kept for ``drain``, where kernels make all of them.

        Args:
            columns: where each parameter stands in the record, by its id.
        """
        batches = [e.batch for e in self._entries if e.batch.by_chunks is not None]
        if not batches or len(batches) < len(self._entries) or not self.buffer_size or self.extra:
            return
        if torch.empty(1, device="cpu").data_ptr():  # in a transform such as functionalize new tensors have no memory
            self.rows = RecordRows(batches, columns)

    @property
    def may_be_brief(self) -> bool:
        """Whether some steps need not be looked at in full, and gain time by that."""
        return bool(self._large)

    def look(self, in_full: bool) -> None:
        """Whether steps from here on are looked at in full; else only the gradients of large batches are."""
        for batch in self._large:
            batch.look(in_full)
        self._brief = any(batch.brief for batch in self._large)

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
            if together:
                result[:, :, first : first + count] = part.to(result)
            else:  # a list of columns would be copied to the device by waiting for it
                places = to_device(torch.tensor(chosen, device="cpu"), result.device)
                result.index_copy_(2, places, part.to(result))
        if result is None:
            result = torch.zeros(self.buffer_index, len(STATISTICS), width, dtype=torch.float64, device="cpu")
        self._unscale(result)
        self.buffer_index = self.in_full = 0
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
        return sum(bytes_moved(e.batch) for e in self._entries)


def _by_program(plan: GroupPlan, prepared: Sequence[PreparedParam]) -> dict[Program, list[PreparedParam]]:
    """The parameters of a group by the program that steps them."""
    some: dict[Program, list[PreparedParam]] = {program: [] for program in all_of(plan.programs)}
    for each in prepared:
        some[plan.program_of(each.param)].append(each)
    return some


def _has_tensors(plan: GroupPlan) -> bool:
    """Whether a hyperparameter is a tensor on a device."""
    return any(isinstance(value, Tensor) for values in plan.hypers.values() for value in values)


def _where(group: int) -> str:
    return f" (parameter group {group})"


def _buffer_size(params: Sequence[Tensor]) -> int:
    """For how many steps statistics are kept before they are combined: fewer where they take much memory."""
    chunks = sum(-(-p.numel() // CHUNK) for p in params)
    return max(_FEWEST_SLOTS, min(_SLOTS, _NUMBERS_KEPT // (len(STATISTICS) * max(1, chunks))))
