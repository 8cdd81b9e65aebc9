"""What a picture of search paths shows, as plain data: everything that was tried, and what is called best."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ravine.contour._plot import Map


@dataclass(frozen=True)
class Route:
    """One path: points, shape (steps + 1, 2), and how far above the lowest value it was at each."""

    points: np.ndarray
    losses: np.ndarray
    diverged_at: int | None = None


@dataclass(frozen=True)
class Member:
    """An optimizer: its routes by rate and start, and the number of its best rate.

    ``family`` and ``value``, as texts, are given where a hyperparameter is swept and this is one of its values.
    ``finals`` has how far above the lowest value each route ended, shape (rates, starts); infinite if it diverged.
    """

    label: str
    routes: Sequence[Sequence[Route]]
    finals: np.ndarray
    best: int
    reference: bool = False
    family: str = ""
    value: str | None = None


@dataclass(frozen=True)
class Scene:
    """All members on one function.

    ``lowest`` is what was taken off the function's values, so that losses are at least 0. Heat maps of all members
    share the colours from ``floor``, or the least final value if that is more, to ``highest``: how far above the lowest value the highest
    start is.
    """

    name: str
    surface: Map
    rates: Sequence[float]
    starts: Sequence[tuple[float, float]]
    steps: int
    seed: int
    members: Sequence[Member]
    lowest: float
    floor: float
    highest: float
    swept: str | None = None
    values: Sequence[str] = field(default=())

    @property
    def quantity(self) -> str:
        """What the losses are, for an axis."""
        if self.lowest == 0:
            return "value"
        return f"value above {self.lowest:.4g}"

    @property
    def least(self) -> float:
        """What stands for 0 on an axis of logarithms: nearer to the lowest value there is only rounding."""
        return max(1e-30, 2.0**-52 * abs(self.lowest))

    @property
    def colours(self) -> tuple[float, float]:
        """The final values at the two ends of the one range of colours that all heat maps share."""
        lowest = min(float(member.finals.min()) for member in self.members)
        # every path may have diverged, or none may have moved: a range needs some width
        return min(max(self.floor, lowest), self.highest / 10), self.highest

    @property
    def protocol(self) -> list[str]:
        """How it was made, in sentences."""
        rates, starts = self.rates, len(self.starts)
        decades = np.log10(rates[-1] / rates[0])
        tried = f"Every optimizer: the same {len(rates)} learning rates from {rates[0]:g} to {rates[-1]:g} "
        tried += f"({decades:.2g} decades, evenly spaced in the logarithm), the same {starts} starting "
        tried += f"point{'s' * (starts > 1)}, {self.steps} steps each (seed {self.seed})."
        rule = "Best is the rate with the fewest diverged starts, then the least geometric mean of the final values; "
        rule += f"below {self.floor:.2g} they count as equal. Paths are drawn as long as they were tuned."
        sentences = [tried, rule]
        if self.swept:
            sentences.append(f"Each value of {self.swept} is chosen a rate for by itself.")
        return sentences

    def at_the_end(self, member: Member) -> str:
        """Whether the best rate is the first or the last that was tried: then a better one may lie outside."""
        return {0: "the lowest tried", len(self.rates) - 1: "the highest tried"}.get(member.best, "")
