"""Hyperparameters as functions of progress through a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from ravine.errors import OptionError, nearest, shown
from ravine.train._callback import Callback, argument_text
from ravine.train._fit import Fit


class HyperSchedule(Callback):
    """Hyperparameters as functions of progress, which goes from 0 to 1 over the fit.

    After the fit they are what they were before it.

    Args:
        functions: by the hyperparameter's name, which may be one of a tuple: ``{"betas[0]": ...}``. Each is asked
            before every step and gives the value to use; a list has one for each parameter group.
        more: the same as keywords.

    Raises:
        OptionError: there is no function, or something that cannot be called.

    Example::

        learn.fit(5, schedule=HyperSchedule(lr=lambda p: 1e-2 * (1 - p), momentum=lambda p: 0.85 + 0.1 * p))
    """

    over_the_run: ClassVar[bool] = True

    def __init__(self, functions: Mapping[str, Callable[[float], Any]] | None = None, **more: Any) -> None:
        if functions is not None and not isinstance(functions, Mapping):
            raise OptionError(
                f"HyperSchedule({shown(functions)}): give functions by name, HyperSchedule(lr=lambda progress: 0.1 * (1 - progress))."
            )
        self.functions = {**(functions or {}), **more}
        if not self.functions:
            raise OptionError(
                "HyperSchedule needs a function of progress: HyperSchedule(lr=lambda progress: 0.1 * (1 - progress))."
            )
        self._before: list[dict[str, Any]] = []
        for name, function in self.functions.items():
            if not callable(function):
                raise OptionError(
                    f"HyperSchedule: {name} is {function!r}; it must be a function of progress, from 0 to 1."
                )

    def __repr__(self) -> str:
        names = (f"{n}={argument_text(f)}" for n, f in self.functions.items())
        return f"{type(self).__name__}({', '.join(names)})"

    def before_fit(self, fit: Fit) -> None:
        _ = fit.progress if fit.batches is None else None  # says what is missing before anything is trained
        self._before = [
            {name: _plain(get_hyper(group, name)) for name in self.functions} for group in fit.optimizer.param_groups
        ]

    def before_batch(self, fit: Fit) -> None:
        progress = fit.progress
        values = {name: function(progress) for name, function in self.functions.items()}
        groups = fit.optimizer.param_groups
        for number, group in enumerate(groups):
            for name, value in values.items():
                if isinstance(value, list):
                    check_length(name, value, len(groups))
                    value = value[number]
                _set_hyper(group, name, value)

    def after_epoch(self, fit: Fit) -> None:
        if fit.state.epoch >= fit.state.epochs or fit.state.stop_reason:  # before the last checkpoint is written
            self.after_fit(fit)

    def after_fit(self, fit: Fit) -> None:
        for group, values in zip(fit.optimizer.param_groups, self._before, strict=False):
            for name, value in values.items():
                _set_hyper(group, name, value)

    def state_dict(self) -> dict[str, Any]:
        return {"before": self._before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = state.get("before", self._before)


def check_length(name: str, values: list[Any], groups: int) -> None:
    """Refuse another number of values than there are groups."""
    if len(values) != groups:
        raise OptionError(
            f"{name} has {len(values)} values, and the optimizer {groups} parameter group{'s' * (groups != 1)}: give one "
            "for each, or a single number for all."
        )


def _plain(value: Any) -> Any:
    """A value that stays what it is when the group's changes."""
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def has_hyper(group: Mapping[str, Any], name: str) -> bool:
    """Whether a parameter group has that hyperparameter and it is on: not 0 and not None."""
    base, _ = _parts(name)
    return base in group and bool(get_hyper(group, name))


def get_hyper(group: Mapping[str, Any], name: str) -> Any:
    """The value of a hyperparameter of a parameter group, or of one of a tuple, such as ``"betas[0]"``.

    Raises:
        OptionError: there is none of that name.
    """
    base, index = _parts(name)
    if base not in group or base == "params":
        known = [key for key in group if key not in ("params", "param_names")]
        raise OptionError(f"The optimizer has no hyperparameter {base!r}. {nearest(base, known)}")
    if index is None:
        return group[base]
    if not isinstance(group[base], tuple | list) or index >= len(group[base]):
        raise OptionError(f"The optimizer has no {name!r}: its {base} is {group[base]!r}.")
    return group[base][index]


def _set_hyper(group: dict[str, Any], name: str, value: Any) -> None:
    base, index = _parts(name)
    if index is not None:
        values = list(group[base])
        values[index] = value
        group[base] = tuple(values)
    elif isinstance(group[base], Tensor):
        group[base].fill_(value)
    else:
        group[base] = value


def _parts(name: str) -> tuple[str, int | None]:
    base, bracket, index = name.partition("[")
    if bracket and not re.fullmatch(r"\d+\]", index):
        raise OptionError(f"HyperSchedule: {name!r} is not a name; write 'momentum', or 'betas[0]' for one of a tuple.")
    return base, int(index[:-1]) if index else None
