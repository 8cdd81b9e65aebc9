"""Where a comparison looks for a hyperparameter: ranges, and the scale on which they are searched.

from ravine.optim import search

search.log(1e-5, 1e-1)         # all powers of ten are equally likely
search.complement(0.9, 0.999)  # all powers of ten of 1 - x are equally likely
search.linear(0.0, 0.5)        # all values are equally likely
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from ravine.errors import OptionError

__all__ = ["Range", "complement", "linear", "log"]


def __dir__() -> list[str]:
    return __all__


Scale = Literal["log", "linear", "complement"]


@dataclass(frozen=True)
class Range:
    """Where a hyperparameter may lie.

    Attributes:
        low, high: its smallest and largest value.
        scale: what is equally likely: ``"log"``, all powers of ten; ``"linear"``, all values; ``"complement"``, all powers
            of ten of 1 - x, for momentum and decays: a value between 0.9 and 0.99 is as likely as one between 0.99 and 0.999.
        least, most: what the hyperparameter itself may be; a range is never expanded beyond. A comparison takes them
            from what the optimizer declares with ``Hyper``. None: any value.

    Raises:
        OptionError: the range is empty, or its scale cannot have such values.
    """

    low: float
    high: float
    scale: Scale = "log"
    least: float | None = field(default=None, repr=False)
    most: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.scale not in ("log", "linear", "complement"):
            raise OptionError(f"scale = {self.scale!r}: a range is 'log', 'linear' or 'complement'.")
        for value in (self.low, self.high):
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise OptionError(
                    f"A range goes from a finite number to a larger one, not from {self.low!r} to {self.high!r}."
                )
        if not self.low < self.high:
            raise OptionError(f"The range from {self.low:g} to {self.high:g} is empty: low must be below high.")
        if self.scale == "log" and self.low <= 0:
            raise OptionError(
                f'A range in powers of ten begins above 0, not at {self.low:g}; or give scale = "linear".'
            )
        if self.scale == "complement" and self.high >= 1:
            raise OptionError(f"A range in powers of ten of 1 - x ends below 1, not at {self.high:g}.")

    def value(self, position: float) -> float:
        """The value at ``position``: 0 is low, 1 is high, on the scale of the range."""
        a, b = self._inner(self.low), self._inner(self.high)
        x = a + position * (b - a)
        if self.scale == "log":
            return 10.0**x
        return 1 - 10.0**-x if self.scale == "complement" else x

    def position(self, value: float) -> float:
        """Where a value lies in the range: 0 is low, 1 is high; below 0 or above 1 outside it."""
        a, b = self._inner(self.low), self._inner(self.high)
        return (self._inner(value) - a) / (b - a)

    def _inner(self, value: float) -> float:
        if self.scale == "log":
            return math.log10(value) if value > 0 else -math.inf
        return -math.log10(1 - value) if self.scale == "complement" else value

    def beyond(self, side: Literal["low", "high"]) -> Range:
        """The part that widening adds on one side: a power of ten, or a quarter of a linear range."""
        inner = self._inner(self.low if side == "low" else self.high)
        step = (self.high - self.low) / 4 if self.scale == "linear" else 1.0
        other = inner - step if side == "low" else inner + step
        if self.scale == "log":
            other = 10.0**other
        elif self.scale == "complement":
            other = max(0.0, 1 - 10.0**-other)
        if self.least is not None:
            other = max(other, self.least)
        if self.most is not None:
            other = min(other, self.most)
        return replace(self, low=other, high=self.low) if side == "low" else replace(self, low=self.high, high=other)

    def open(self, side: Literal["low", "high"]) -> bool:
        """Whether there is anything beyond a side: below a momentum of 0 there is nothing."""
        if side == "high":
            return self.most is None or self.high < self.most
        if self.least is not None and self.low <= self.least:
            return False
        return not (self.scale == "complement" and self.low <= 0)

    def union(self, other: Range) -> Range:
        """The smallest range with both in it."""
        return replace(self, low=min(self.low, other.low), high=max(self.high, other.high))


def log(low: float, high: float) -> Range:
    """From ``low`` to ``high``, both above 0, with all powers of ten equally likely: for learning rates and eps."""
    return Range(low, high, "log")


def linear(low: float, high: float) -> Range:
    """From ``low`` to ``high``, with all values equally likely."""
    return Range(low, high, "linear")


def complement(low: float, high: float) -> Range:
    """From ``low`` to ``high``, below 1, with all powers of ten of ``1 - x`` equally likely: for momentum and decays."""
    return Range(low, high, "complement")
