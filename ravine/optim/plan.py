"""The plan of a step: which program runs on which tensors by which backend.

Made from the optimizer's groups and states, used for as many steps as nothing moves, and made anew when something
does: a tensor replaced, a parameter that gets its first gradient, a hyperparameter that changes the formula.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ravine.backends import Batch
from ravine.backends.eager import Eager
from ravine.backends.numba import Fused, why_not
from ravine.errors import BackendError, ParameterError
from ravine.formula import Piece, Program, param_copy, trace
from ravine.optim.hyperparameters import check

Pieces = tuple[Callable[..., Any] | Piece, ...]


@lru_cache(maxsize=1024)
def _program(pieces: Pieces, shape: tuple[tuple[str, int], ...]) -> Program:
    return trace(pieces, {name: (0.0,) * length if length else 0.0 for name, length in shape})


def program_of(pieces: Sequence[Callable[..., Any] | Piece], hypers: Mapping[str, Any]) -> Program:
    """The program of a list of pieces; the same object for the same pieces."""
    # A flag is no number: it chooses pieces, where the list of them is made.
    shape = tuple(
        (n, len(v) if isinstance(v, tuple | list) else 0) for n, v in hypers.items() if not isinstance(v, bool)
    )
    return _program(tuple(pieces), shape)


class Steps:
    """The numbers of steps of a batch's parameters: ``state[p]['step']`` are views of one tensor."""

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        self._tensor = torch.tensor([float(s["step"]) for s in states], dtype=torch.get_default_dtype().to_real())
        self._counts = self._tensor.numpy()
        for state, view in zip(states, self._tensor.unbind(), strict=True):
            state["step"] = view
        self._look()

    def _look(self) -> None:
        first = self._counts[0] if len(self._counts) else 0
        self._same = int(first) if (self._counts == first).all() else None
        self._version = self._tensor._version

    def advance(self, active: np.ndarray | None) -> int | np.ndarray:
        """Count one step for the active parameters; the number of the step, or an array where they differ."""
        if self._tensor._version != self._version:  # the user wrote to a view
            self._look()
        if active is None:
            self._counts += 1
            if self._same is not None:
                self._same += 1
                return self._same
        else:
            self._counts += active
            self._look()
        if self._same is not None:
            return self._same
        return np.maximum(self._counts, 1.0).astype(np.float64)


class GroupPlan:
    """The plan of one parameter group.

    Args:
        group: the group.
        pieces_of: gives the formula of a group.
        defaults: the options that a group has.
        extra: hyperparameters that come from elsewhere (``grad_scale``); read at every step, like the group's.
        where: names the group for errors.
    """

    def __init__(
        self,
        group: dict[str, Any],
        pieces_of: Callable[[dict[str, Any]], Sequence[Callable[..., Any] | Piece]],
        defaults: Mapping[str, Any],
        extra: Mapping[str, float],
        where: str,
    ) -> None:
        self.group, self.batches = group, list[tuple[Batch, Steps]]()
        self._pieces_of, self._defaults, self._extra, self._where = pieces_of, defaults, extra, where
        self._keys = [k for k in defaults if k != "fused"]
        self._read(self._now())

    def _now(self) -> list[Any]:
        group = self.group
        values = [group[k] for k in self._keys]
        # A tensor may change in place, so what is kept and compared is its number.
        return [v if type(v) in (float, int, bool) else _plain(v) for v in values] + [*self._extra.values()]

    def _read(self, values: list[Any]) -> None:
        for name in self._keys:
            check(name, self.group[name], self._defaults[name], self._where)
        self._values = values
        known = dict(zip([*self._keys, *self._extra], values, strict=True))
        self.program = program_of(self._pieces_of(self.group), known)
        flat: list[float] = []
        for name in self.program.hypers:
            base, _, index = name.partition("[")
            flat.append(known[base][int(index[:-1])] if index else known[base])
        self.hypers = tuple(flat)
        self.changed = True

    def refresh(self) -> bool:
        """Read the hyperparameters again; False if they now make another formula."""
        values = self._now()
        if values == self._values:
            return True
        before = self.program
        self._read(values)
        return self.program is before


def _plain(value: Any) -> Any:
    """Numbers for tensors of one element, NumPy scalars and tuples of them."""
    if isinstance(value, tuple | list):
        return tuple(_plain(v) for v in value)
    if isinstance(value, torch.Tensor | np.generic | np.ndarray) and math.prod(value.shape) == 1:
        return value.item()
    return value


class Plan:
    """What ``Optimizer.step`` runs.

    Args:
        groups: the plan of every group, without batches yet.
        extra: the hyperparameters from elsewhere that these plans read.
        state: the optimizer's state, by parameter; states that are missing are made.
        describe: names a parameter for errors.
        kinds: dtype and device that each parameter had in the plan before; updated.
    """

    def __init__(
        self,
        groups: Sequence[GroupPlan],
        extra: dict[str, float],
        state: Mapping[torch.Tensor, dict[str, Any]],
        describe: Callable[[torch.Tensor], str],
        kinds: dict[torch.Tensor, tuple[torch.dtype, torch.device]],
    ) -> None:
        self.groups, self.extra = list(groups), extra
        self._describe = describe
        for g in self.groups:
            self._fill(g, state, kinds)
        self._all = [(g, batch, steps) for g in self.groups for batch, steps in g.batches]
        self._reductions = max((len(g.program.passes) - 1 for g in self.groups if g.batches), default=0)

    def _fill(self, g: GroupPlan, state: Any, kinds: dict[Any, Any]) -> None:
        fused = g.group["fused"]
        eager: list[torch.Tensor] = []
        kernels: dict[Any, list[torch.Tensor]] = defaultdict(list)
        members = [p for p in dict.fromkeys(g.group["params"]) if p.grad is not None or state.get(p)]
        for p in members:
            self._check(p)
        for p in members:
            states = state[p]
            make_states(p, states, g.program)
            self._follow(p, states, g.program, kinds)
            reason = self._reason(p, states, g.program)
            if reason and fused:
                raise BackendError(
                    f"fused=True, but no kernel can step {self._describe(p)}: {reason}. Use fused=None to let torch's "
                    "operations step such parameters"
                )
            if reason or fused is False:
                eager.append(p)
            else:
                dtypes = [states[n].dtype for n in g.program.states]
                grad_dtype = p.dtype if p.grad is None else p.grad.dtype
                kernels[p.dtype, grad_dtype, *dtypes, p.is_contiguous()].append(p)
        for key, params in kernels.items():
            states = [state[p] for p in params]
            steps = Steps(states)
            g.batches.append((Fused(g.program, params, states, key[1]), steps))
        if eager:
            states = [state[p] for p in eager]
            g.batches.append((Eager(g.program, eager, states), Steps(states)))

    def _check(self, p: torch.Tensor) -> None:
        if p.device.type == "meta":
            raise BackendError(
                f"{self._describe(p)} is on the meta device and has no data: call module.to_empty(device=...), "
                "initialise it, and make the optimizer from the module's new parameters"
            )
        g = p.grad
        if g is None:
            return
        if g.layout is not torch.strided:
            raise ParameterError(
                f"{self._describe(p)} has a sparse gradient ({g.layout}); formulas are for dense ones: use "
                "sparse=False in the module, or set p.grad = p.grad.to_dense()"
            )
        if g.shape != p.shape:
            raise ParameterError(
                f"{self._describe(p)} has a gradient of shape {tuple(g.shape)}: run backward again after the parameter's data was replaced"
            )

    def _follow(self, p: torch.Tensor, states: dict[str, Any], program: Program, kinds: dict[Any, Any]) -> None:
        """Let states follow a parameter that was moved or cast (``module.double()``) since the last plan."""
        before = kinds.get(p)
        kinds[p] = (p.dtype, p.device)
        for name in program.states:
            s = states[name]
            if before and before[0] != p.dtype and s.dtype == before[0]:
                s = s.to(p.dtype)
            if s.device != p.device:
                s = s.to(p.device)
            if s.shape != p.shape:
                raise ParameterError(
                    f"{self._describe(p)} has a state {name} of shape {tuple(s.shape)}: its data was replaced by another "
                    f"shape. Delete the state (del optimizer.state[p]) to start it anew"
                )
            states[name] = s

    @staticmethod
    def _reason(p: torch.Tensor, states: dict[str, Any], program: Program) -> str:
        """Why no kernel can take the parameter; empty if one can."""
        tensors = [("", p), *((f"state {n}: ", states[n]) for n in program.states)]
        if p.grad is not None and type(p.grad) is not torch.Tensor:
            return f"its gradient is a {type(p.grad).__name__}, a tensor subclass"
        if p.grad is not None and why_not_dtype(p.grad):
            return f"its gradient's dtype is {p.grad.dtype}"
        for prefix, t in tensors:
            if reason := why_not(t):
                return prefix + reason
            if t.is_complex() != p.is_complex() or (t.numel() > 1 and t.stride() != p.stride()):
                return f"{prefix}it is not laid out as the parameter"
        return ""

    def ready(self) -> bool:
        """Take this step's gradients and hyperparameters; False if the plan does not hold any more. Writes nothing."""
        return all(g.refresh() for g in self.groups) and all(batch.gather() for _, batch, _ in self._all)

    def run(self) -> None:
        """Write the new parameters and states."""
        stepped = [(g, batch, steps.advance(batch.active)) for g, batch, steps in self._all]
        sums = self._reduce(stepped) if self._reductions else None
        for i, (g, batch, step) in enumerate(stepped):
            program = g.program
            if sums is None and not program.uses_step and not g.changed:
                batch.write(None)
            else:
                batch.write(program.numbers(len(program.passes) - 1, step, g.hypers, sums[i] if sums else ()))
        for g in self.groups:
            g.changed = False

    def _reduce(self, stepped: Sequence[tuple[GroupPlan, Batch, Any]]) -> list[list[Any]]:
        """The whole-tensor sums of every batch, level by level; a global sum joins all batches."""
        sums: list[list[Any]] = [[] for _ in stepped]
        for level in range(self._reductions):
            total: dict[int, float] = defaultdict(float)
            mine: list[tuple[int, np.ndarray, tuple[str, ...]]] = []
            for i, (g, batch, step) in enumerate(stepped):
                p = g.program.passes[level]
                if not p.writes:
                    found = batch.reduce(level, g.program.numbers(level, step, g.hypers, sums[i]))
                    mine.append((i, found, p.scopes))
                    joined = [row for row, scope in zip(found, p.scopes, strict=True) if scope.startswith("global")]
                    for k, row in enumerate(joined):
                        total[k] += float(row.sum())
            for i, found, scopes in mine:
                k = 0
                for row, scope in zip(found, scopes, strict=True):
                    sums[i].append(total[k] if scope.startswith("global") else row)
                    k += scope.startswith("global")
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


def why_not_dtype(grad: torch.Tensor) -> bool:
    """Whether a gradient's dtype is one that no kernel reads."""
    return "its dtype" in why_not(torch.empty(0, dtype=grad.dtype))


@torch.no_grad()
def make_states(p: torch.Tensor, states: dict[str, Any], program: Program) -> None:
    """Make the states of a parameter that it does not have yet."""
    if "step" not in states:
        states["step"] = torch.zeros((), dtype=torch.get_default_dtype())
    for name, initial in program.states.items():
        if states.get(name) is None:
            if initial is param_copy:
                states[name] = p.detach().clone(memory_format=torch.preserve_format)
            else:
                states[name] = torch.zeros_like(p.detach(), memory_format=torch.preserve_format)
                if initial:
                    target = torch.view_as_real(states[name]) if p.is_complex() else states[name]
                    target.fill_(initial)
