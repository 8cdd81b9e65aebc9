"""The numbers that a formula keeps (``scalar``): those of each parameter in its state, those of a group in its dict.

They are double precision, and where a batch's other numbers are: on the host, or on its device, where only that knows
whether a step is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine import backends
from ravine._compat.torch import is_fake, version_of
from ravine.backends import number_dtype
from ravine.errors import OptionError
from ravine.formula import Program
from ravine.formula._pieces import Scalar
from ravine.optim._engine.alike import Alike


def with_kept(group: dict[str, Any], programs: Mapping[Any, Program]) -> dict[str, Any]:
    """A new group with the numbers that its formulas keep for it, where it has none of them yet."""
    kept = [pair for program in programs.values() for pair in program.kept.items()]
    return {**{name: one.initial for name, one in kept if one.per == "group"}, **group}


class KeptNumbers:
    """Those of the parameters of one batch.

    Args:
        program: says which there are.
        states: of each parameter; they show what is kept here.
        group: the parameter group.
        device: where the numbers are; None: on the host.
    """

    def __init__(
        self, program: Program, states: Sequence[dict[str, Any]], group: dict[str, Any], device: torch.device | None
    ) -> None:
        self._group = group
        self._rows: dict[str, _OnHost | _OnDevice | None] = {}
        for name, one in program.kept.items():
            if one.per == "tensor":
                self._rows[name] = _OnHost(name, states) if device is None else _OnDevice(name, states, device)
                continue
            self._rows[name] = None
            group.setdefault(name, one.initial)
            if device is not None and not (isinstance(group[name], Tensor) and group[name].device == device):
                group[name] = torch.as_tensor(group[name], dtype=number_dtype(device)).reshape(()).to(device)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def now(self) -> tuple[Any, ...]:
        """The numbers before the step, in the order of the program: one for all parameters, or one for each."""
        return tuple(self._of_group(name) if row is None else row.now() for name, row in self._rows.items())

    def on_device(self) -> tuple[Tensor, ...]:
        """The tensors that hold the numbers of the parameters, where a batch's own kernels read and write them."""
        return tuple(row.lent() for row in self._rows.values() if isinstance(row, _OnDevice))

    def _of_group(self, name: str) -> Any:
        value = self._group.get(name)
        if isinstance(value, Tensor) and value.numel() == 1:
            return value.item() if backends.on_host(value.device) and not is_fake(value) else value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise OptionError(
                f"the parameter group's {name!r}, which the formula keeps, must be a number; it is {value!r}"
            )
        return value

    def put(self, values: Sequence[Any], active: np.ndarray | None, skip: Tensor | None) -> None:
        """Keep the numbers after the step: of the parameters that are stepped, and where ``skip`` is not true."""
        if active is not None and not active.any():
            return
        for (name, row), value in zip(self._rows.items(), values, strict=True):
            if row is not None:
                row.put(value, active, skip)
            elif isinstance(self._group[name], Tensor) and not backends.on_host(self._group[name].device):
                old = self._group[name]
                new = _number_at(old, value)
                old.copy_(new if skip is None else torch.where(skip, old, new))
            else:
                self._group[name] = float(value)


class _OnHost:
    """One number for each parameter: views of one CPU tensor."""

    def __init__(self, name: str, states: Sequence[dict[str, Any]]) -> None:
        with torch.inference_mode(False):
            self._tensor = torch.tensor([float(s[name]) for s in states], dtype=torch.float64)
        for state, view in zip(states, self._tensor.unbind(), strict=True):
            state[name] = view
        self._read()

    def _read(self) -> None:
        self._array = self._tensor.numpy()
        first = float(self._array[0])
        self._same = first if (self._array == first).all() else None
        self._seen = version_of(self._tensor)

    def now(self) -> Any:
        if version_of(self._tensor) != self._seen:  # the user wrote to a view
            self._read()
        return self._array.copy() if self._same is None else self._same

    def put(self, value: Any, active: np.ndarray | None, skip: Tensor | None) -> None:
        if skip is not None and bool(skip):  # waits, as step counts on the host do
            return
        self._array[:] = value if active is None else np.where(active, value, self._array)
        alike = isinstance(value, float) and active is None
        self._same = value if alike else None
        if not alike:
            self._read()


class _OnDevice:
    """One number for each parameter, on a device."""

    def __init__(self, name: str, states: Sequence[dict[str, Any]], device: torch.device) -> None:
        given = [s[name] for s in states]
        with torch.inference_mode(False), torch.no_grad():
            values = [torch.as_tensor(value, dtype=number_dtype(device)).reshape(()) for value in given]
            self.tensor = torch.stack([v.to(device, non_blocking=True) for v in values])
        self._alike = Alike(self.tensor, given)
        for state, view in zip(states, self.tensor.unbind(), strict=True):
            state[name] = view

    def now(self) -> Tensor:
        return (self.tensor[0] if self._alike else self.tensor).clone()  # it is written before everybody has read it

    def lent(self) -> Tensor:
        """The tensor, for kernels that write to it."""
        self._alike.forget()
        return self.tensor

    @torch.no_grad()
    def put(self, value: Any, active: np.ndarray | None, skip: Tensor | None) -> None:
        old = self.tensor
        made = _number_at(old, value)
        alike = bool(self._alike) and made.ndim == 0 and active is None
        new = made.expand_as(old)
        if active is not None:
            new = torch.where(backends.to_device(torch.from_numpy(active), old.device), new, old)
        old.copy_(new if skip is None else torch.where(skip, old, new))
        self._alike.note(alike)


def _number_at(like: Tensor, value: Any) -> Tensor:
    """A number where that tensor is, without waiting, as a copy of a number of Python would."""
    if isinstance(value, Tensor):
        return value.to(like.device, like.dtype, non_blocking=True)
    return torch.full((), value, dtype=like.dtype, device=like.device)


def starting(one: Scalar) -> Tensor:
    """A number of a parameter before its first step."""
    with torch.inference_mode(False):
        return torch.tensor(one.initial, dtype=torch.float64)
