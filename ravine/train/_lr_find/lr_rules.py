"""What the losses of learning-rate sweeps say about the rate to train with.

Three rules read the curve of loss against rate. They differ from those of other libraries where those failed: a curve
ends at its first loss that is not finite (dropping such losses would shift the others to wrong rates), slopes are
taken against the logarithm of the rate, a single spike has no effect, and a rule without an answer says why. Trains
nothing and draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ravine.errors import OptionError

RULES = ("valley", "steepest", "minimum")
"""The first of them that has an answer is recommended."""

LEAST = 10  # rates: fewer do not show the shape of the curve
RECENT = 5  # losses: one or two bad batches do not move their median
_SIGNAL = 8.0  # standard errors that a fall must have; of 1000 simulated curves of pure noise 0 to 10 have it
_ROUNDING = 1e-6  # a fall below this share of the loss is float32's rounding
_EDGE = 0.1  # fraction of the fall left out at each end of the valley, where the curve is flat


@dataclass(frozen=True)
class Suggestion:
    """What one rule says.

    ``lr`` is NaN where the rule has no answer; ``reason`` then says why. ``low`` to ``high`` is the range of the
    rule's answers over the individual sweeps, ``lr`` included; NaN where fewer than two of them have an answer.
    """

    rule: str
    lr: float
    low: float
    high: float
    reason: str

    @property
    def answered(self) -> bool:
        """Whether the rule has an answer."""
        return not math.isnan(self.lr)


def suggest(
    rates: Sequence[float] | np.ndarray, losses: Sequence[Sequence[float]] | np.ndarray
) -> dict[str, Suggestion]:
    """What each rule suggests, by its name; an answer lies within the rates, below where any sweep diverged.

    The rules read the mean over the orders, up to where the first sweep ended, smoothed without delay (a median
    of 5, then a mean):

    - ``valley``: two thirds of the way down, on the logarithmic axis, from where a tenth of the loss's fall is
      done to where nine tenths are;
    - ``steepest``: where the loss falls fastest against the logarithm of the rate;
    - ``minimum``: a tenth of the rate at the lowest loss.

    Args:
        rates: ascending, shape (steps,).
        losses: shape (orders, steps), NaN from where a sweep ended.

    Raises:
        OptionError: shapes that do not fit each other, or rates that are not positive and ascending.
    """
    grid, table = _checked(rates, losses)
    lengths = _lengths(table)
    count = int(lengths.min())
    reason = _too_short(grid, table, lengths)
    if reason:
        return {rule: Suggestion(rule, math.nan, math.nan, math.nan, reason) for rule in RULES}
    ended = count < len(grid)
    # relative to the largest loss: nothing below can overflow, and rounding has the same size in every case
    size = np.abs(table[:, :count]).max() or 1.0
    table = table[:, :count] / size
    curve = _SweepCurve(grid[:count], table.mean(axis=0), ended)
    reason = _no_fall(curve, table, size)
    alone = [_SweepCurve(grid[:count], row, ended) for row in table]
    return {rule: _apply(rule, curve, alone, reason) for rule in RULES}


class _SweepCurve:
    """One smoothed curve: where it starts, how far it falls and where it is lowest."""

    def __init__(self, rates: np.ndarray, losses: np.ndarray, ended: bool) -> None:
        self.rates, self.ended = rates, ended
        calm = _windows(losses, RECENT, np.median)
        # losses above the start only say that it diverged; their size must not affect the mean
        start, low = calm[0], calm.min()
        self.width = 2 * max(1, len(rates) // 24) + 1
        self.losses = _windows(np.minimum(calm, start + (start - low)), self.width, np.mean)
        self.lowest = int(self.losses.argmin())
        self.start, self.low = float(self.losses[0]), float(self.losses[self.lowest])
        self.fall = self.start - self.low
        # an end as low as the minimum, and no divergence: nothing shows that higher rates are worse
        self.open = not ended and bool(self.losses[-1] <= self.low + _EDGE * self.fall)
        # the loss is from before the update: the effect of the last rate was not measured
        self.last = len(rates) - 2

    def crossing(self, fraction: float) -> float:
        """The logarithm of the rate at which this fraction of the fall was reached first."""
        goal = self.start - fraction * self.fall
        after = int((self.losses <= goal).argmax())
        if after == 0:
            return math.log(self.rates[0])
        high, low = self.losses[after - 1], self.losses[after]
        return float(np.interp(goal, [low, high], np.log(self.rates[[after, after - 1]])))


def _valley(curve: _SweepCurve) -> float | str:
    if curve.open:
        return f"{_unfinished(curve)} Let the sweep end higher."
    top, bottom = curve.crossing(_EDGE), curve.crossing(1 - _EDGE)
    return math.exp(top + (bottom - top) * 2 / 3)


def _steepest(curve: _SweepCurve) -> float | str:
    slopes = np.gradient(curve.losses, np.log(curve.rates))[: curve.lowest + 1]
    at = int(slopes.argmin())
    if curve.open and at >= len(curve.rates) - 1 - curve.width:
        return f"It falls fastest at the last rates tried. {_unfinished(curve)} Let the sweep end higher."
    return float(curve.rates[at])


def _minimum(curve: _SweepCurve) -> float | str:
    if curve.open:
        return f"{_unfinished(curve)} Let the sweep end higher."
    rate = curve.rates[curve.lowest] / 10
    if rate < curve.rates[0]:
        return (
            f"A tenth of the rate at the lowest loss ({short(curve.rates[curve.lowest])}) lies below the first rate "
            f"tried ({short(curve.rates[0])}). Let the sweep start lower."
        )
    return float(rate)


_FINDERS: dict[str, Callable[[_SweepCurve], float | str]] = {
    "valley": _valley,
    "steepest": _steepest,
    "minimum": _minimum,
}


def _apply(rule: str, curve: _SweepCurve, alone: Sequence[_SweepCurve], reason: str) -> Suggestion:
    """The rule's answer for the mean of the sweeps, and the range of its answers for the individual ones."""
    answer = reason or _answer(rule, curve)
    if isinstance(answer, str):
        return Suggestion(rule, math.nan, math.nan, math.nan, answer)
    single = [a for a in (_answer(rule, one) for one in alone if one.fall > 0) if not isinstance(a, str)]
    why = {
        "valley": "two thirds of the way down the fall of the loss",
        "steepest": "where the loss falls fastest",
        "minimum": "a tenth of the rate at the lowest loss",
    }[rule]
    if curve.open:
        why += "; the loss had not risen again by the last rate, so a higher rate may do as well"
    if len(alone) == 1:
        return Suggestion(rule, answer, math.nan, math.nan, f"{why}; one sweep shows no spread")
    if len(single) < 2:
        return Suggestion(rule, answer, math.nan, math.nan, f"{why}; too few individual sweeps show it to give a range")
    why += f"; the range is that of {len(single)} of {len(alone)} sweeps"
    return Suggestion(rule, answer, min(*single, answer), max(*single, answer), why)


def _answer(rule: str, curve: _SweepCurve) -> float | str:
    """A rate between the first and the last whose effect was measured, or why there is none."""
    answer = _FINDERS[rule](curve)
    if isinstance(answer, str):
        return answer
    return min(max(answer, float(curve.rates[0])), float(curve.rates[curve.last]))


def _checked(rates: Any, losses: Any) -> tuple[np.ndarray, np.ndarray]:
    grid, table = np.asarray(rates, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if grid.ndim != 1 or not len(grid) or not np.isfinite(grid).all() or grid[0] <= 0 or (np.diff(grid) <= 0).any():
        raise OptionError("rates are one row of finite numbers above 0, ascending.")
    if table.ndim != 2 or not len(table) or table.shape[1] != len(grid):
        raise OptionError(
            f"losses have shape {table.shape}, but with {len(grid)} rates it is (orders, {len(grid)}): a row for each "
            "order of the batches."
        )
    return grid, table


def _lengths(table: np.ndarray) -> np.ndarray:
    """How many losses each sweep has before the first that is not finite."""
    broken = ~np.isfinite(table)
    return np.where(broken.any(axis=1), broken.argmax(axis=1), table.shape[1])


def _windows(values: np.ndarray, width: int, reduce: Callable[..., Any]) -> np.ndarray:
    """``reduce`` over the ``width`` values around each; beyond both ends the curve is mirrored."""
    padded = np.pad(values, width // 2, mode="reflect")
    reduced: np.ndarray = reduce(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    return reduced


def _too_short(grid: np.ndarray, table: np.ndarray, lengths: np.ndarray) -> str:
    """Why the curves are too short to be read, or nothing."""
    worst = int(lengths.argmin())
    count = int(lengths[worst])
    who = "" if len(table) == 1 else f" of sweep {worst + 1} of {len(table)}"
    if count == 0:
        return (
            f"The loss{who} was {table[worst, 0]:g} at the first rate, {short(grid[0])}, before any update: it "
            "comes from the model or its data, and no learning rate helps."
        )
    if len(grid) < LEAST:
        return f"Only {len(grid)} rates were tried; at least {LEAST} show the shape of the curve."
    if count < LEAST:
        return (
            f"The loss{who} diverged after {count} rates, at {short(grid[count])}; at least {LEAST} rates before "
            "that are needed. Let the sweep start lower or take more steps."
        )
    return ""


def _no_fall(curve: _SweepCurve, table: np.ndarray, size: float) -> str:
    """Why the mean of the sweeps holds no fall of the loss that means anything, or nothing."""
    between = f"between {short(curve.rates[0])} and {short(curve.rates[-1])}"
    if curve.fall <= _ROUNDING * np.abs(curve.losses).max():
        further = f" It diverged above {short(curve.rates[-1])}: let the sweep start lower." if curve.ended else ""
        return (
            f"The loss did not fall at any rate {between}: it was {_level(curve.start * size)} at the start and at "
            f"least {_level(curve.low * size)} everywhere. Do the parameters get gradients, and is the first rate low "
            f"enough?{further}"
        )
    noise = _noise(table, max(curve.lowest + 1, LEAST))
    if curve.fall < _SIGNAL * noise / math.sqrt(len(table) * curve.width):
        return (
            f"The fall of the loss {between}, {_level(curve.fall * size)}, is no larger than its noise can "
            f"cause: between batches it differs by {_level(noise * size)}. Take larger batches or more sweeps, "
            "or let the sweep end higher."
        )
    return ""


def _noise(table: np.ndarray, count: int) -> float:
    """A robust standard deviation of a loss, from the first ``count`` of each sweep.

    Of several sweeps around their mean; of a single one around a straight line through its neighbours.
    """
    table = table[:, :count]
    orders = len(table)
    if orders > 1:
        residuals = (table - table.mean(axis=0)) * math.sqrt(orders / (orders - 1))
    else:
        residuals = np.diff(table, n=2, axis=1) / math.sqrt(6)  # variances 1 + 4 + 1
    return float(np.median(np.abs(residuals))) / 0.6745  # of a normal distribution, half lies within that


def short(rate: float) -> str:
    return "-" if math.isnan(rate) else f"{rate:.2g}"


def _level(loss: float) -> str:
    return f"{loss:.3g}"


def _unfinished(curve: _SweepCurve) -> str:
    return f"The loss had not risen again by the last rate tried ({short(curve.rates[-1])})."
