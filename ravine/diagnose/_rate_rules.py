"""Rules about what drives a run: gradients that are not finite, and the learning rate.

Each is a function from the evidence to what it found, in words, or None. The thresholds were set between what runs
with the fault and healthy runs of this project's tasks measured; the healthy figures stand beside them.
"""

from __future__ import annotations

import numpy as np

from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import FEWEST_STEPS, Curve, counted, curve, listed, median_of, number, ratios, span

# --- gradients that are not finite ----------------------------------------------------------------------------------

SCALE_SEARCH = 20
"""The first steps, in which a loss scaler of float16 leaves out some until its scale fits: from 65,536 down to 1 takes
17. Later it tries a higher scale every 2,000 steps."""


def nonfinite(evidence: Evidence) -> str | None:
    """Losses or gradients were NaN or infinite; the search of a float16 loss scaler for its scale does not count."""
    history, skipped = evidence.history, evidence.skipped
    bad_losses = np.flatnonzero(~np.isfinite(evidence.losses))
    first = dict(sorted(evidence.first_nonfinite.items(), key=lambda item: item[1]))
    if not first and len(history):
        bad_rows = history.nonfinite > 0
        first = {
            name: int(history.first[np.argmax(bad_rows[:, i])])
            for i, name in enumerate(history.names)
            if bad_rows[:, i].any()
        }
    began = min(first.values(), default=0)
    searched = began <= SCALE_SEARCH and 0 < skipped <= SCALE_SEARCH + len(evidence.losses) // 2000
    if not len(bad_losses) and (searched or not (first or skipped)):
        return None
    said = []
    if first:
        names = [name for name, step in first.items() if step == began]
        others = len(first) - len(names)
        more = f", later those of {counted(others, 'more parameter')}" if others else ""
        said.append(f"gradients were NaN or infinite, first of {listed(names)} at step {began:,}{more}")
    if len(bad_losses):
        said.append(
            f"the loss was not finite in {counted(len(bad_losses), 'step')}, first at step {bad_losses[0] + 1:,}"
        )
    if skipped:
        said.append(f"{counted(skipped, 'step')} of {len(evidence.losses):,} were left out")
    return _sentence(said)


# --- the learning rate ----------------------------------------------------------------------------------------------

HIGH_RATIO = 3e-2
"""Far above 1e-2. Alone it says nothing: RMSprop on a new Linear(784, 200) has 0.05 to 0.5 in its first steps, logistic
regression 0.04 all along, and both train well. So the loss must say it, too."""
USUAL_RATIO = 1e-2
"""Healthy runs are below it once their first steps are over; where the loss rises again, that much is enough."""
THROWN_BACK = 3.0
"""Times the loss of the start, in three of five steps in a row. Healthy runs have less than 1.1, and 12 where RMSprop's
first steps are ten times as long as the later ones."""
THROWN_FAR = 100.0
NOT_LEARNED = 0.8
HALF_LEARNED = 0.5
HARDLY_LEARNED = 0.1
"""Shares of the first loss, at the end of a run whose loss was not thrown back, was, and was thrown very far; healthy
runs of one epoch or more end below 0.3."""
LOST = 0.5
"""Share of what the loss had fallen that is lost again; healthy runs lose less than 0.02 to noise."""
LOW_RATIO = 1e-4
STILL_FALLING = 0.2
"""Share of the whole fall in the last 30 % of a run: 0.3 for a straight line; 0.13 or less in healthy runs."""
HARDLY_FALLEN = 0.95
RISEN = 1.2
"""Shares of the first loss. One that ended above the second has another trouble than small steps."""


def rate_too_high(evidence: Evidence) -> str | None:
    """Updates that are large beside the weights, and a loss that flew up, does not fall, or lost what it had won."""
    course, ratio = curve(evidence, 3), ratios(evidence)
    if course is None or not np.isfinite(ratio).any():
        return None
    highest = float(np.nanmax(ratio))
    late = median_of(ratio[len(ratio) // 2 :])
    if highest < HIGH_RATIO:
        return None
    what = _thrown(course, late)
    if what is None:
        return None
    row = int(np.nanargmax(ratio))
    history = evidence.history
    where = span(int(history.first[row]), int(history.last[row]))
    later = f" and {number(late)} times in the second half" if late >= USUAL_RATIO else ""
    return (
        f"{what}. An update had up to {number(highest)} times the norm of its weight ({where}; median over the weights)"
        f"{later}, where 0.001 is usual. {_used(evidence, 'lr', 'The learning rate')}."
    )


def _thrown(course: Curve, late: float) -> str | None:
    """What is wrong with the loss, if anything."""
    first, end, jump = course.first, course.end, course.jump
    last = course.losses[-3:]
    if not course.whole and last.max() >= 10 * first:
        return f"The loss rose from {number(first)} to {number(last.max())} and then was not finite"
    if len(course.losses) < FEWEST_STEPS:
        return None
    thrown, unsteady = jump >= THROWN_BACK * first, late >= HIGH_RATIO
    if end >= HALF_LEARNED * first and thrown:
        return f"The loss rose from {number(first)} to {number(jump)} and ended at {number(end)}"
    if end >= NOT_LEARNED * first and unsteady:
        return f"The loss has not fallen: {number(first)} before the first step, {number(end)} at the end"
    if end >= HARDLY_LEARNED * first and jump >= THROWN_FAR * first:
        return f"The loss was thrown from {number(first)} to {number(jump)} and came back to {number(end)} only"
    if course.gain > 0 and end - course.best >= LOST * course.gain and (thrown or late >= USUAL_RATIO):
        return f"The loss fell from {number(first)} to {number(course.best)}, but ended at {number(end)}"
    return None


def rate_too_low(evidence: Evidence) -> str | None:
    """Updates far below the weights while the rate was high, and a loss that has hardly fallen or still falls."""
    course = curve(evidence, FEWEST_STEPS)
    ratio = ratios(evidence)[_rows_of_high_rate(evidence)]
    usual = median_of(ratio)
    if course is None or not course.whole or not usual < LOW_RATIO or course.end > RISEN * course.first:
        return None
    late = len(course.levels) * 7 // 10
    fall = float(course.levels[0] - course.levels[-1])
    share = float(course.levels[late - 1] - course.levels[-1]) / fall if fall > 0 else 0.0
    if course.end >= HARDLY_FALLEN * course.first:
        what = f"The loss has hardly fallen, from {number(course.first)} to {number(course.end)}"
    elif share >= STILL_FALLING:
        what = f"The loss still fell at the end: {share:.0%} of its fall came in the last 30% of the steps"
    else:
        return None
    return (
        f"{what}. An update had {number(usual)} times the norm of its weight (median), where 0.001 is usual. "
        f"{_used(evidence, 'lr', 'The learning rate')}."
    )


def _rows_of_high_rate(evidence: Evidence) -> np.ndarray:
    """The rows of the history in which a schedule had the rate at half its highest or more; all without a rate."""
    history, rate = evidence.history, evidence.hypers.get("lr")
    if rate is None or rate.ndim != 1 or not np.isfinite(rate).any():
        return np.ones(len(history), dtype=bool)
    middle = np.clip((history.first + history.last) // 2 - 1, 0, len(rate) - 1)
    found: np.ndarray = rate[middle] >= np.nanmax(rate) / 2
    return found


def _used(evidence: Evidence, name: str, shown: str) -> str:
    """What a hyperparameter was, from and to where it changed."""
    values = evidence.hypers.get(name)
    if values is None or not np.isfinite(values).any():
        return f"{shown} is not known"
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return f"{shown} was {number(low)}" if low == high else f"{shown} was {number(low)} to {number(high)}"


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
