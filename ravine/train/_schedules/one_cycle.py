"""Hyperparameters as functions of progress through a run, and the one-cycle, which is one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ravine.errors import OptionError, nearest
from ravine.train._callback import Callback, argument_text
from ravine.train._fit import Fit
from ravine.train._stepping import checked_rate

_MOMENTA = ("momentum", "betas[0]", "alpha", "rho")
"""What a cycle of momentum moves: the first of these that an optimizer has and that is on."""


class OverRun(Callback):
    """Hyperparameters as functions of progress, which goes from 0 to 1 over the fit.

    Args:
        functions: by the hyperparameter's name, which may be one of a tuple: ``{"betas[0]": ...}``. Each is asked
            before every step and gives the value to use.
        more: the same as keywords.

    Example::

        fit.fit(5, schedule=OverRun(lr=lambda p: 1e-2 * (1 - p), momentum=lambda p: 0.85 + 0.1 * p))
    """

    def __init__(self, functions: Mapping[str, Callable[[float], Any]] | None = None, **more: Any) -> None:
        self.functions = {**(functions or {}), **more}
        if not self.functions:
            raise OptionError(
                "OverRun needs a function of progress: OverRun(lr=lambda progress: 0.1 * (1 - progress))."
            )
        for name, function in self.functions.items():
            if not callable(function):
                raise OptionError(f"OverRun: {name} is {function!r}; it must be a function of progress, from 0 to 1.")

    def __repr__(self) -> str:
        names = (f"{n}={argument_text(f)}" for n, f in self.functions.items())
        return f"OverRun({', '.join(names)})"

    def before_fit(self, fit: Fit) -> None:
        _ = fit.progress if fit.batches is None else None  # says what is missing before anything is trained
        for group in fit.optimizer.param_groups:
            for name in self.functions:
                _get(group, name)

    def before_batch(self, fit: Fit) -> None:
        progress = fit.progress
        values = {name: function(progress) for name, function in self.functions.items()}
        for group in fit.optimizer.param_groups:
            for name, value in values.items():
                _set(group, name, value)


class OneCycle(OverRun):
    """The schedule of :meth:`Learner.fit_one_cycle`."""

    def __init__(
        self,
        lr_max: float,
        *,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        moms: tuple[float, float, float] | None = (0.95, 0.85, 0.95),
    ) -> None:
        lr_max = checked_rate(lr_max)
        for name, value in (("div", div), ("div_final", div_final)):
            if not (_is_number(value) and 0 < value < math.inf):
                raise OptionError(f"{name} {value!r}: the highest rate is divided by it; give a number above 0.")
        if not (_is_number(pct_start) and 0 < pct_start < 1):
            raise OptionError(f"pct_start {pct_start!r}: it is a share of the run, between 0 and 1.")
        three = isinstance(moms, tuple | list) and len(moms) == 3
        if moms is not None and not (three and all(_is_number(m) and 0 <= m < 1 for m in moms)):
            raise OptionError(f"moms {moms!r}: give three numbers from 0 up to 1, at the start, the top and the end.")
        super().__init__(lr=_cosines(pct_start, lr_max / div, lr_max, lr_max / div_final))
        self.moms, self._moving = moms, _cosines(pct_start, *moms) if moms else None
        self._said = f"OneCycle(lr_max={lr_max}, div={div}, div_final={div_final}, pct_start={pct_start}, moms={moms})"

    def __repr__(self) -> str:
        return self._said

    def before_fit(self, fit: Fit) -> None:
        self.functions = {"lr": self.functions["lr"]}
        name = next((n for n in _MOMENTA if _is_on(fit.optimizer.param_groups[0], n)), None)
        if self._moving is not None and name is not None:
            self.functions[name] = self._moving
        super().before_fit(fit)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _cosines(share: float, start: float, middle: float, end: float) -> Callable[[float], float]:
    """Half a cosine from start to middle over the first share of the run, and another to the end."""

    def value(progress: float) -> float:
        if progress < share:
            a, b, at = start, middle, progress / share
        else:
            a, b, at = middle, end, (progress - share) / (1 - share)
        return a + (1 - math.cos(math.pi * at)) * (b - a) / 2

    return value


def _split(name: str) -> tuple[str, int | None]:
    base, bracket, index = name.partition("[")
    if bracket and not re.fullmatch(r"\d+\]", index):
        raise OptionError(f"OverRun: {name!r} is no name; write 'momentum', or 'betas[0]' for one of a tuple.")
    return base, int(index[:-1]) if index else None


def _get(group: Mapping[str, Any], name: str) -> Any:
    base, index = _split(name)
    if base not in group or base == "params":
        known = [key for key in group if key not in ("params", "param_names")]
        raise OptionError(f"The optimizer has no hyperparameter {base!r}. {nearest(base, known)}")
    if index is None:
        return group[base]
    if not isinstance(group[base], tuple | list) or index >= len(group[base]):
        raise OptionError(f"The optimizer has no {name!r}: its {base} is {group[base]!r}.")
    return group[base][index]


def _set(group: dict[str, Any], name: str, value: Any) -> None:
    base, index = _split(name)
    if index is not None:
        values = list(group[base])
        values[index] = value
        group[base] = tuple(values)
    elif isinstance(group[base], Tensor):
        group[base].fill_(value)
    else:
        group[base] = value


def _is_on(group: Mapping[str, Any], name: str) -> bool:
    base, _ = _split(name)
    return base in group and bool(_get(group, name))
