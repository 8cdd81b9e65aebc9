"""What several rules read from the evidence: the loss curve, the weights; and names and numbers in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ravine.diagnose._evidence import Evidence

BLOCKS = 20
"""A loss curve is divided into this many parts of equal length: enough to show its course, few enough to average over."""

FEWEST_STEPS = 60
"""With fewer steps, the course of a loss cannot be told from its noise."""


@dataclass(frozen=True)
class Curve:
    """The curve of a training loss that is never below 0.

    Attributes:
        losses: the losses before the first that is not finite.
        whole: whether these are all of them.
        first: the loss before the first step.
        levels: the loss in each of at most 20 parts of the run: the mean of the part without its largest tenth.
        end: the level of the last tenth of the run.
        best: the lowest level.
        jump: the highest loss that three of five consecutive steps reached.
        noise: the standard deviation of a step's loss in a part of the run: the median of all parts.
    """

    losses: np.ndarray
    whole: bool
    first: float
    levels: np.ndarray
    end: float
    best: float
    jump: float
    noise: float

    @property
    def gain(self) -> float:
        """How far the loss fell at its best; 0 or less if it did not fall."""
        return self.first - self.best

    @property
    def level_noise(self) -> float:
        """The standard deviation of the difference of two levels that only noise tells apart."""
        part, last = len(self.losses) / len(self.levels), max(len(self.losses) // 10, 2)
        return self.noise * float(1 / part + 1 / last) ** 0.5


def curve(evidence: Evidence, least: int) -> Curve | None:
    """The curve, if it has at least so many steps and no loss is below 0; else None.

    Rules compare with the loss at the start, which is meaningless for a loss that may go below 0.
    """
    finite = np.isfinite(evidence.losses)
    count = len(finite) if finite.all() else int(np.argmin(finite))
    losses = evidence.losses[:count]
    if count < max(least, 2) or losses.min() < 0 or losses[0] == 0:
        return None
    parts = np.array_split(losses, min(BLOCKS, count // 2))
    levels = np.array([_level(part) for part in parts])
    last = losses[-max(count // 10, 2) :]
    window = min(5, count)
    jump = float(np.median(sliding_window_view(losses, window), axis=-1).max())
    end = _level(last)
    noise = float(np.median([part.std(ddof=1) for part in parts]))
    return Curve(
        losses, count == len(finite), float(losses[0]), levels, end, float(min(levels.min(), end)), jump, noise
    )


def _level(losses: np.ndarray) -> float:
    # near 0, cross-entropy has a heavy tail: one batch in ten decides the mean of all
    kept = np.sort(losses)[: len(losses) - max(len(losses) // 10, 1)]
    return float(kept.mean())


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """The median of an odd number of neighbours of each value; the ends are mirrored."""
    padded = np.pad(values, window // 2, mode="reflect")
    medians: np.ndarray = np.median(sliding_window_view(padded, window), axis=-1)
    return medians


def weights(evidence: Evidence) -> np.ndarray:
    """The columns of the trained parameters of two or more dimensions, in order; of all trained ones if there are none.

    Biases and the parameters of normalisation start at 0 or 1 and are few: their figures do not compare.
    """
    trained = np.flatnonzero(was_trained(evidence))
    matrices = [i for i in trained if evidence.dims[i] >= 2]
    return np.array(matrices if matrices else trained, dtype=np.int64)


def was_trained(evidence: Evidence) -> np.ndarray:
    """Of each parameter, whether it requires a gradient and had one in some step."""
    history = evidence.history
    if not len(history):
        return np.zeros(len(history.names), dtype=bool)
    trained: np.ndarray = np.array(evidence.trained, dtype=bool) & (history.steps.sum(axis=0) > 0)
    return trained


def ratios(evidence: Evidence) -> np.ndarray:
    """The median over the weights of update over parameter, for each row of the history; NaN where there is none."""
    columns = weights(evidence)
    medians = np.full(len(evidence.history), np.nan)
    for row, values in enumerate(evidence.history.ratio[:, columns]):
        values = values[np.isfinite(values)]
        if len(values):
            medians[row] = np.median(values)
    return medians


def element_gradients(evidence: Evidence) -> np.ndarray:
    """The root mean square of the gradient's elements, shape (rows, parameters)."""
    sizes = np.maximum(evidence.history.sizes, 1)
    root_mean_squares: np.ndarray = evidence.history.grad_norm / np.sqrt(sizes)
    return root_mean_squares


def median_of(values: np.ndarray) -> float:
    """The median of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


# --- words ---------------------------------------------------------------------------------------------------------


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and the number of the others."""
    shown = list(names[:most])
    more = len(names) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def number(value: float) -> str:
    """Three digits: 0.0123, 4.56e-07, 2,300."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def steps_of(places: Iterable[int], most: int = 5) -> str:
    """Steps, counted from 1, of places, counted from 0."""
    numbers = [f"{place + 1:,}" for place in places]
    return f"{'step' if len(numbers) == 1 else 'steps'} {listed(numbers, most)}"


def step_range(first: int, last: int) -> str:
    """The steps from one to another, counted from 1."""
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"
