"""The one-cycle: the learning rate rises and falls once over a run, while momentum falls and rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ravine.errors import OptionError
from ravine.train._fit import Fit
from ravine.train._rates import checked_rates, listed
from ravine.train._schedules.hyper_schedule import HyperSchedule, check_length, has_hyper

_MOMENTA = ("momentum", "betas[0]", "beta1", "mom", "alpha", "rho")
"""What a cycle of momentum moves: the first of these that an optimizer has and that is on."""

MOMS = (0.95, 0.85, 0.95)
"""The default of ``moms``; this very tuple, so that the same numbers can be told from it where they are given."""


class OneCycle(HyperSchedule):
    """The schedule of :meth:`Learner.fit_one_cycle`, with its arguments."""

    def __init__(
        self,
        lr: float | Sequence[float],
        *,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        moms: tuple[float, float, float] | None = MOMS,
    ) -> None:
        rates = checked_rates(lr)
        for name, value in (("div", div), ("div_final", div_final)):
            if not (_is_number(value) and 0 < value < math.inf):
                raise OptionError(f"{name} {value!r}: the highest rate is divided by it; give a number above 0.")
        if not (_is_number(pct_start) and 0 < pct_start < 1):
            raise OptionError(f"pct_start {pct_start!r}: it is a share of the run, between 0 and 1.")
        three = isinstance(moms, tuple | list) and len(moms) == 3
        if moms is not None and not (three and all(_is_number(m) and 0 <= m < 1 for m in moms)):
            raise OptionError(f"moms {moms!r}: give three numbers from 0 up to 1, at the start, the top and the end.")
        each = [_cosines(pct_start, rate / div, rate, rate / div_final) for rate in listed(rates)]
        super().__init__(lr=each[0] if isinstance(rates, float) else lambda progress: [one(progress) for one in each])
        self.rates, self._moms_given = rates, moms is not None and moms is not MOMS
        self._momentum = _cosines(pct_start, *moms) if moms else None
        self._arguments = f"lr={rates}, div={div}, div_final={div_final}, pct_start={pct_start}, moms={moms}"

    def __repr__(self) -> str:
        return f"OneCycle({self._arguments})"

    def before_fit(self, fit: Fit) -> None:
        self.functions = {"lr": self.functions["lr"]}
        name = next((n for n in _MOMENTA if has_hyper(fit.optimizer.param_groups[0], n)), None)
        if self._momentum is not None and name is not None:
            self.functions[name] = self._momentum
        elif self._moms_given:
            raise OptionError(_nothing_to_move(fit.optimizer))
        if isinstance(self.rates, list):
            check_length("lr", self.rates, len(fit.optimizer.param_groups))
        super().before_fit(fit)


def _nothing_to_move(optimizer: torch.optim.Optimizer) -> str:
    name = type(optimizer).__name__
    if "momentum" in optimizer.param_groups[0]:
        why, instead = "its momentum switched off", f"or make it with momentum: {name}(params, lr, momentum=0.9)"
    else:
        why, instead = (
            "no momentum",
            "or move a hyperparameter of another name by schedule=HyperSchedule(NAME=function)",
        )
    return f"moms: {name} has {why}, so there is nothing to move. Leave moms out, {instead}."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _cosines(rising: float, start: float, middle: float, end: float) -> Callable[[float], float]:
    """Half a cosine from start to middle over the rising share of the run, and another to the end."""

    def value(progress: float) -> float:
        if progress < rising:
            a, b, at = start, middle, progress / rising
        else:
            a, b, at = middle, end, (progress - rising) / (1 - rising)
        return a + (1 - math.cos(math.pi * at)) * (b - a) / 2

    return value
