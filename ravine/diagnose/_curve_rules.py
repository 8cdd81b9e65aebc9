"""Rules about the loss curve: spikes, oscillation, a fall without end, a plateau, and the validation loss.

Each is a function from the evidence to a sentence, or None. The figures of healthy runs are given beside thresholds.
"""

from __future__ import annotations

import numpy as np

from ravine._whole_numbers import count
from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import (
    FEWEST_STEPS,
    curve,
    median_of,
    number,
    running_median,
    step_range,
    steps_of,
)

# --- spikes and swings ----------------------------------------------------------------------------------------------

NEIGHBOURS = 31
"""Consecutive steps whose median is the level of the loss at the middle one."""
SPIKE_DEVIATIONS = 10.0
SPIKE_TIMES_USUAL = 8.0
"""Times the 90th percentile of all rises above the level: 1.5 to 3 for the highest in healthy runs, whose batches
differ often; a spike is rare."""
SPIKE_SHARE = 0.3
"""Fraction of the improvement. Batches of 32 of a logistic regression reach 0.6, but often."""
SPIKE_EARLIEST = 10
"""The first steps are different: RMSprop's are ten times as long as the later ones."""
SWINGS = 3
SWING_SHARE = 0.1
"""Fraction of the improvement that one rise must undo."""
SWING_TIMES_NOISE = 5.0
"""Times the deviation of a step's loss from the mean of its neighbours."""
SWING_ALIKE = 0.7
"""Correlation of the losses of even and odd steps: near 1 for an oscillation, near 0 for noise between batches."""
HIGH_MOMENTUM = 0.9


def spikes(evidence: Evidence) -> str | None:
    """A few single steps far above the loss around them, by the median and the deviations of the neighbours."""
    course = curve(evidence, 2 * FEWEST_STEPS)
    if course is None or course.gain <= 0:
        return None
    level = running_median(course.losses, NEIGHBOURS)
    rise = course.losses - level
    deviation = 1.4826 * running_median(np.abs(rise), NEIGHBOURS)
    above = rise[rise > 0]
    if not len(above):
        return None
    usual = float(np.quantile(above, 0.9))
    high = (
        (rise > SPIKE_DEVIATIONS * deviation)
        & (rise > SPIKE_TIMES_USUAL * usual)
        & (rise > SPIKE_SHARE * course.gain)
        & (np.arange(len(rise)) >= SPIKE_EARLIEST)
    )
    # consecutive steps are one spike
    places = [int(p) for p in np.flatnonzero(high) if p == 0 or not high[p - 1]]
    if not places:
        return None
    highest = max(places, key=lambda p: rise[p])
    where = "" if len(places) == 1 else f", at step {highest + 1:,}"
    return (
        f"The loss jumped at {steps_of(places)}{where} to {number(course.losses[highest])}, where it was around "
        f"{number(level[highest])} before and after{_gradient_at(evidence, highest + 1)}."
    )


def _gradient_at(evidence: Evidence, step: int) -> str:
    """The gradient in the row of that step, if it was unusually large."""
    history = evidence.history
    rows = np.flatnonzero((history.first <= step) & (step <= history.last))
    whole = np.sqrt(np.nansum(history.grad_norm**2, axis=1)) if len(history) else np.zeros(0)
    if not len(rows) or not whole[rows[0]] > 2 * np.median(whole) > 0:
        return ""
    return f"; the norm of the gradient was {number(whole[rows[0]] / np.median(whole))} times its median there"


def overshooting(evidence: Evidence) -> str | None:
    """High momentum, and a loss that oscillates slowly, in even and odd steps alike."""
    course = curve(evidence, FEWEST_STEPS)
    name, momentum = _momentum(evidence)
    if course is None or momentum < HIGH_MOMENTUM:
        return None
    losses = course.losses
    smooth = running_median(losses, 5)
    beside = (losses[:-2] + losses[2:]) / 2
    noise = 1.4826 * float(np.median(np.abs(losses[1:-1] - beside))) / 1.5**0.5
    least = max(SWING_SHARE * (course.first - float(smooth.min())), SWING_TIMES_NOISE * noise)
    tops, bottoms = _turns(smooth, least)
    if len(tops) < SWINGS:
        return None
    swinging = losses[bottoms[0] : tops[-1] + 1]
    if len(swinging) < 4 * SWINGS or np.diff(tops).min() < 4:
        return None
    even, odd = (running_median(swinging[k : len(swinging) // 2 * 2 : 2], 3) for k in (0, 1))
    if not np.corrcoef(even, odd)[0, 1] >= SWING_ALIKE:
        return None
    period = float(np.mean(np.diff(tops)))
    height = max(smooth[top] - smooth[bottom] for top, bottom in zip(tops, bottoms, strict=True))
    return (
        f"The loss rose again {count(len(tops), 'time')} after it had fallen, about every {period:.0f} steps, by up to "
        f"{number(height)} ({step_range(bottoms[0] + 1, tops[-1] + 1)}). {name} is {number(momentum)}."
    )


def _turns(values: np.ndarray, least: float) -> tuple[list[int], list[int]]:
    """The tops, and the bottoms before them, of every rise by at least so much that was followed by such a fall."""
    tops, bottoms = [], []
    low = high = 0
    rising = False
    for place, value in enumerate(values):
        if rising:
            if value > values[high]:
                high = place
            elif value < values[high] - least:
                tops.append(high)
                bottoms.append(low)
                rising, low = False, place
        elif value < values[low]:
            low = place
        elif value > values[low] + least:
            rising, high = True, place
    return tops, bottoms


def _momentum(evidence: Evidence) -> tuple[str, float]:
    """The name and the median of the momentum; 0 without."""
    for name, shown in (("momentum", "Momentum"), ("betas", "The first of betas")):
        values = evidence.hypers.get(name)
        if values is not None and len(values):
            return shown, median_of(values[:, 0] if values.ndim == 2 else values)
    return "", 0.0


# --- plateaus, and validation ---------------------------------------------------------------------------------------

NEAR_START = 0.9
"""Fraction of the initial loss: above it, the run has learned almost nothing. A converged run ends far below."""
STANDSTILL = 0.02
"""Fraction of the initial loss by which the second half must be below the second quarter."""
RISE_OF_VALIDATION = 0.2
"""Fraction of its lowest value by which the validation loss must have risen; healthy runs vary by up to 0.12."""
LATE_EPOCHS = 3
FAR_BELOW = -30.0
"""Times the size of the first loss, or 1 if that is less."""
LATE_FALL = 0.27
"""Fraction of a fall that lies in the last fifth of the run: 0.2 for a straight line, less where a density is learned."""
UNLIKE = 1.5
"""Times the loss before the first step, by which the validation loss is above it in every epoch; healthy runs are below it."""
LEARNED = 0.5
"""Fraction of that loss, below which the training loss ended."""


def endless(evidence: Evidence) -> str | None:
    """A loss far below 0 that falls ever faster: what is learned slows down, a loss without a lower bound does not."""
    finite = np.isfinite(evidence.losses)
    losses = evidence.losses if finite.all() else evidence.losses[: int(np.argmin(finite))]
    if len(losses) < FEWEST_STEPS or losses[-1] >= 0:
        return None
    smooth = running_median(losses, 5)
    first, before, last = float(losses[0]), float(smooth[-(len(smooth) // 5)]), float(smooth[-1])
    if last > FAR_BELOW * max(abs(first), 1.0) or before - last < LATE_FALL * (first - last):
        return None
    return (
        f"The loss fell from {number(first)} to {number(last)}, and {(before - last) / (first - last):.0%} of its fall was in the last "
        f"fifth of {count(len(losses), 'step')}: it falls ever faster."
    )


def unlike_validation(evidence: Evidence) -> str | None:
    """A validation loss that is worse than before the first step in every epoch, while the training loss fell."""
    course = curve(evidence, FEWEST_STEPS)
    losses = [row["valid_loss"] for row in evidence.epochs if "valid_loss" in row]
    if course is None or not course.whole or len(losses) < 2 or not np.isfinite(losses).all():
        return None
    if course.end >= LEARNED * course.first or min(losses) < UNLIKE * course.first + course.noise:
        return None
    return (
        f"The training loss fell from {number(course.first)} to {number(course.end)}, but the validation loss was {number(min(losses))} at "
        f"its best, in {count(len(losses), 'epoch')}: worse than before the first step."
    )


def plateau(evidence: Evidence) -> str | None:
    """No improvement in more than half of the run, and a loss that is still near its start."""
    course = curve(evidence, FEWEST_STEPS)
    if course is None or not course.whole or course.end < NEAR_START * course.first:
        return None
    blocks = len(course.levels)
    before, after = course.levels[blocks // 4 : blocks // 2].mean(), course.levels[blocks // 2 :].mean()
    if before - after >= STANDSTILL * course.first:
        return None
    return (
        f"The loss was {number(course.first)} before the first step, {number(before)} on average in the second quarter "
        f"of the run and {number(after)} in its second half of {count(len(course.losses) // 2, 'step')}."
    )


def overconfident(evidence: Evidence) -> str | None:
    """A validation loss that rose for some epochs, while the accuracy rose, too."""
    name = next((key for row in evidence.epochs for key in row if "acc" in key.lower()), None)
    if name is None:
        return None
    known = ({"valid_loss", name} <= row.keys() for row in evidence.epochs)
    rows = [row for row, both in zip(evidence.epochs, known, strict=True) if both and np.isfinite(row["valid_loss"])]
    if len(rows) < 2 * LATE_EPOCHS:
        return None
    losses, accuracies = (np.array([row[key] for row in rows]) for key in ("valid_loss", name))
    best = int(np.argmin(losses))
    late = slice(len(rows) - LATE_EPOCHS, None)
    # all of the last epochs: a loss that only varies comes back
    if best >= len(rows) - LATE_EPOCHS or not losses[late].min() > (1 + RISE_OF_VALIDATION) * losses[best] > 0:
        return None
    if not np.median(accuracies[late]) > accuracies[best]:
        return None
    return (
        f"The validation loss was lowest in epoch {rows[best].get('epoch', best + 1)}, {number(losses[best])}, and is "
        f"{number(losses[-1])} now; meanwhile {name} rose from {number(accuracies[best])} to "
        f"{number(float(np.median(accuracies[late])))} (median of the last {LATE_EPOCHS} epochs)."
    )
