"""What several rules read from the evidence: the course of the loss, the weights, names and numbers in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ravine.diagnose._evidence import Evidence

BLOCKS = 20
"""A run is looked at in so many parts of equal length: enough to see a course, few enough that each is an average."""

FEWEST_STEPS = 60
"""Of a run of which a course can be told from noise."""


@dataclass(frozen=True)
class Curve:
    """The course of a training loss that is finite and never below 0, as most are.

    Attributes:
        losses: the finite losses up to the first that is not.
        whole: whether that is all of them.
        first: the loss before the first step.
        levels: the loss in each of at most 20 parts of the run: the mean of the part without its largest tenth.
        end: the level of the last tenth of the run.
        best: the lowest level.
        jump: the highest that three of five steps in a row reached.
    """

    losses: np.ndarray
    whole: bool
    first: float
    levels: np.ndarray
    end: float
    best: float
    jump: float

    @property
    def gain(self) -> float:
        """How far the loss has fallen at its best; 0 or less where it has not."""
        return self.first - self.best


def curve(evidence: Evidence, least: int) -> Curve | None:
    """The curve of at least so many steps; None where there are fewer, or where a loss is below 0.

    Rules compare with the level of the start, and a loss that goes below 0 has no level that says how far there is
    to go.
    """
    finite = np.isfinite(evidence.losses)
    count = len(finite) if finite.all() else int(np.argmin(finite))
    losses = evidence.losses[:count]
    if count < max(least, 2) or losses.min() < 0 or losses[0] == 0:
        return None
    levels = np.array([_level(part) for part in np.array_split(losses, min(BLOCKS, count // 2))])
    window = min(5, count)
    jump = float(np.median(sliding_window_view(losses, window), axis=-1).max())
    end = _level(losses[-max(count // 10, 2) :])
    return Curve(losses, count == len(finite), float(losses[0]), levels, end, float(min(levels.min(), end)), jump)


def _level(losses: np.ndarray) -> float:
    # near 0, cross-entropy has a heavy tail: one batch in ten decides the mean of all
    kept = np.sort(losses)[: len(losses) - max(len(losses) // 10, 1)]
    return float(kept.mean())


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """The median of an odd number of neighbours of each value; the ends are mirrored."""
    padded = np.pad(values, window // 2, mode="reflect")
    found: np.ndarray = np.median(sliding_window_view(padded, window), axis=-1)
    return found


def weights(evidence: Evidence) -> np.ndarray:
    """The columns of the parameters of two or more dimensions that were trained, in order; of all if there is none.

    Biases and the parameters of normalisation start at 0 or 1 and are small in number: their figures are their own.
    """
    trained = np.flatnonzero(was_trained(evidence))
    found = [i for i in trained if evidence.dims[i] >= 2]
    return np.array(found if found else trained, dtype=np.int64)


def was_trained(evidence: Evidence) -> np.ndarray:
    """Of each parameter, whether it asks for a gradient and had one in some step."""
    history = evidence.history
    if not len(history):
        return np.zeros(len(history.names), dtype=bool)
    found: np.ndarray = np.array(evidence.trained, dtype=bool) & (history.steps.sum(axis=0) > 0)
    return found


def ratios(evidence: Evidence) -> np.ndarray:
    """The median over the weights of update over parameter, for each row of the history; NaN where there is none."""
    columns = weights(evidence)
    found = np.full(len(evidence.history), np.nan)
    for row, values in enumerate(evidence.history.ratio[:, columns]):
        values = values[np.isfinite(values)]
        if len(values):
            found[row] = np.median(values)
    return found


def element_gradients(evidence: Evidence) -> np.ndarray:
    """The root mean square of the gradient's elements, shape (rows, parameters)."""
    found: np.ndarray = evidence.history.grad_norm / np.sqrt(np.maximum(evidence.history.sizes, 1))
    return found


def median_of(values: np.ndarray) -> float:
    """The median of what is finite; NaN where nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


# --- words ---------------------------------------------------------------------------------------------------------


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = list(names[:most])
    more = len(names) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def counted(number: int, noun: str) -> str:
    """The number with its noun in singular or plural."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def number(value: float) -> str:
    """Three digits: 0.0123, 4.56e-07, 2,300."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def steps_of(places: Iterable[int], most: int = 5) -> str:
    """Steps, counted from 1, of places, counted from 0."""
    numbers = [f"{place + 1:,}" for place in places]
    return f"{'step' if len(numbers) == 1 else 'steps'} {listed(numbers, most)}"


def span(first: int, last: int) -> str:
    """The steps from one to another, both counted from 1."""
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"
