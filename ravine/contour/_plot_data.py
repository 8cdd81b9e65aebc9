"""What a picture of search paths shows, as plain data: everything that was tried, and what is called best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ravine.contour._search_record import SearchRecord, grid
from ravine.contour._trajectories import Trajectory

DRAWN = 1e-16
"""Of the highest start: a curve is drawn down to this share of it, and leaves the picture there."""


@dataclass(frozen=True, eq=False)
class SurfaceGrid:
    """A function on a grid: ``values`` has shape (len(ys), len(xs)).

    All of them are at least 0 but where the function has none: there they are NaN. ``starts`` are further starts.
    """

    xs: np.ndarray
    ys: np.ndarray
    values: np.ndarray
    start: tuple[float, float]
    minimum: tuple[float, float] | None
    starts: Sequence[tuple[float, float]] = field(default=())

    @property
    def window(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        return float(self.xs[0]), float(self.xs[-1]), float(self.ys[0]), float(self.ys[-1])


@dataclass(frozen=True, eq=False)
class PlotEntry:
    """An optimizer: its trajectories by rate and start, and the number of its best rate.

    Values are how far above the lowest value a trajectory was. ``finals`` has how far above it each ended, shape
    (rates, starts); infinite if it diverged. ``family`` and ``value``, as texts, are given where a hyperparameter is
    swept and this is one of its values.
    """

    label: str
    trajectories: Sequence[Sequence[Trajectory]]
    finals: np.ndarray
    best: int
    reference: bool = False
    family: str = ""
    value: str | None = None


@dataclass(frozen=True, eq=False)
class PlotData:
    """All entries on one function.

    ``lowest`` is what was taken off the function's values, so that losses are at least 0. Heat maps of all entries
    share the colours from ``floor``, or the least final value if that is more, to ``highest``: how far above the
    lowest value the highest start is.
    """

    name: str
    surface: SurfaceGrid
    rates: Sequence[float]
    starts: Sequence[tuple[float, float]]
    steps: int
    seed: int
    entries: Sequence[PlotEntry]
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
    def axis_end(self) -> float:
        """Where an axis of losses ends at the latest: 16 decades below the highest start, which is what a float64 resolves.

        One path that lands exactly on the minimum would press all others together.
        """
        return max(self.least, DRAWN * self.highest)

    @property
    def colours(self) -> tuple[float, float]:
        """The final values at the two ends of the one range of colours that all heat maps share."""
        lowest = min(float(entry.finals.min()) for entry in self.entries)
        # every path may have diverged, or none may have moved: a range needs some width
        return min(max(self.floor, lowest), self.highest / 10), self.highest

    @property
    def protocol(self) -> list[str]:
        """How it was made, in sentences."""
        rates, starts = self.rates, len(self.starts)
        decades = np.log10(rates[-1] / rates[0])
        tried = f"Every optimizer gets the same {len(rates)} learning rates from {rates[0]:g} to {rates[-1]:g} "
        tried += f"({decades:.2g} decades, evenly spaced on a log scale), the same {starts} starting "
        tried += f"point{'s' * (starts > 1)} and {self.steps} steps (seed {self.seed})."
        rule = (
            "The best rate has the fewest diverged starts, then the lowest geometric mean of final values (those below "
        )
        rule += f"{self.floor:.2g} count as equal). Paths are drawn with all steps."
        sentences = [tried, rule]
        if self.swept:
            sentences.append(f"Each value of {self.swept} has a best rate of its own.")
        return sentences

    def at_the_end(self, entry: PlotEntry) -> str:
        """Whether the best rate is the first or the last that was tried: then a better one may lie outside."""
        return {0: "the lowest tried", len(self.rates) - 1: "the highest tried"}.get(entry.best, "")


def plot_data(record: SearchRecord) -> PlotData:
    """What was tried, as the pictures need it: how far above the lowest value instead of values."""
    lowest = record.lowest
    entries = [
        PlotEntry(
            label=entry.spec.label,
            trajectories=[
                [replace(t, values=np.maximum(t.values - lowest, 0.0)) for t in row] for row in entry.trajectories
            ],
            finals=record.excess(entry),
            best=record.best(entry),
            reference=entry.spec.reference,
            family=entry.family,
            value=entry.value,
        )
        for entry in record.entries
    ]
    xs, ys, heights = grid(record.surface)
    surface = SurfaceGrid(
        xs,
        ys,
        np.maximum(heights - lowest, 0.0),
        record.surface.start,
        record.surface.minimum,
        record.starts[1:],
    )
    return PlotData(
        name=record.name,
        surface=surface,
        rates=record.rates,
        starts=record.starts,
        steps=record.steps,
        seed=record.seed,
        entries=entries,
        lowest=lowest,
        floor=record.floor,
        highest=record.highest,
        swept=record.swept,
        values=record.values,
    )
