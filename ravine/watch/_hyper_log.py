"""The hyperparameters that each step of a training used, stored as changes. Writes no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.errors import OptionError, nearest

Value = float | tuple[float, ...]


class HyperLog:
    """The numbers in an optimizer's groups at each step; most change rarely, so only changes are stored.

    Names of the second group end in ``/1``, of the third in ``/2``.

    Attributes:
        changes: by name, from which step on which value was used.
        pending: the changes that are not yet :meth:`reported`, as ``[step, name, value]``.
    """

    def __init__(self) -> None:
        self.changes: dict[str, list[tuple[int, Value]]] = {}
        self.pending: list[list[Any]] = []
        self._forget_optimizer()

    def _forget_optimizer(self) -> None:
        self._groups: Sequence[dict[str, Any]] | None = None
        self._getters: list[tuple[Callable[[Any], tuple[Any, ...]], list[str]]] = []
        self._last: list[tuple[Any, ...] | None] = []

    def observe(self, step: int, groups: Sequence[dict[str, Any]], defaults: Mapping[str, Any]) -> None:
        """Note the values that step number ``step``, from 0, is about to use: ``param_groups`` and ``defaults``."""
        if groups is not self._groups or len(groups) != len(self._getters):
            self._getters = [(_getter(keys), keys) for keys in (_numeric(g, defaults) for g in groups)]
            self._last, self._groups = [None] * len(groups), groups
        for number, group in enumerate(groups):
            values = self._getters[number][0](group)
            if values != self._last[number]:
                self._note(step, number, values)

    def _note(self, step: int, number: int, values: tuple[Any, ...]) -> None:
        numbers = [v.item() if isinstance(v, Tensor) else v for v in values]
        for name, value in zip(self._getters[number][1], numbers, strict=True):
            key = f"{name}/{number}" if number else name
            known = self.changes.setdefault(key, [])
            if not known or known[-1][1] != value:
                known.append((step, value))
                self.pending.append([step, key, value])
        # a tensor may change in place, so it is read every time
        self._last[number] = None if any(isinstance(v, Tensor) for v in values) else values

    def add(self, changes: list[list[Any]]) -> None:
        """Take over changes that another log has reported."""
        for step, name, value in changes:
            self.changes.setdefault(name, []).append((step, _plain(value)))

    def reported(self, steps: int) -> None:
        """The changes of the first ``steps`` steps are no longer pending."""
        self.pending = [change for change in self.pending if change[0] >= steps]

    def report_again(self) -> None:
        """Every change is pending again."""
        changes = [[step, name, value] for name, known in self.changes.items() for step, value in known]
        self.pending = sorted(changes, key=itemgetter(0))

    def values(self, name: str, steps: int) -> np.ndarray:
        """The value that each of the first ``steps`` steps used, NaN before there was one; (steps, 2) for betas.

        Raises:
            OptionError: there is none of that name.
        """
        if name not in self.changes:
            raise OptionError(f"No hyperparameter {name!r} was recorded. {nearest(name, self.changes)}")
        places = np.array([step for step, _ in self.changes[name]])
        values = np.array([value for _, value in self.changes[name]], dtype=np.float64)
        before = np.searchsorted(places, np.arange(steps), side="right") - 1
        used: np.ndarray = values[np.maximum(before, 0)]
        used[before < 0] = np.nan  # a group that was added later
        return used

    def state_dict(self) -> dict[str, Any]:
        """The changes, as tensors: with a schedule there may be one at each step."""
        return {
            name: {
                "step": torch.tensor([step for step, _ in known]),
                "value": torch.tensor([value for _, value in known], dtype=torch.float64),
            }
            for name, known in self.changes.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the changes of ``state``; none of them is pending."""
        self.changes = {
            name: [
                (step, _plain(value)) for step, value in zip(kept["step"].tolist(), kept["value"].tolist(), strict=True)
            ]
            for name, kept in state.items()
        }
        self.pending = []
        self._forget_optimizer()  # what was observed came after what is now the last change


def _plain(value: Any) -> Value:
    return tuple(value) if isinstance(value, list) else value


def _numeric(group: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The hyperparameters of a group that are numbers; schedulers store other things there."""
    return [name for name, value in group.items() if name in defaults and _is_number(value)]


def _getter(keys: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda group: tuple(group[key] for key in keys)  # an itemgetter of one key gives no tuple


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return bool(value) and all(isinstance(v, int | float) for v in value)
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float) and not isinstance(value, bool)
