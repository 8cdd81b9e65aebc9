"""Rules about gradients that are not finite, and about the learning rate.

Each is a function from the evidence to a sentence, or None. The thresholds lie between the figures of runs with the
fault and those of healthy runs on this project's tasks, which are given beside them.
"""

from __future__ import annotations

import numpy as np

from ravine._plotting.usual_ratios import USUAL_TEXT
from ravine._whole_numbers import count
from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import (
    FEWEST_STEPS,
    Curve,
    curve,
    listed,
    median_of,
    number,
    ratios,
    step_range,
    was_trained,
)

# --- gradients that are not finite ----------------------------------------------------------------------------------

SCALE_SEARCH = 20
"""The first steps, some of which a float16 loss scaler leaves out until its scale fits: from 65,536 down to 1 takes
17. Later it tries a higher scale every 2,000 steps."""


def nonfinite(evidence: Evidence) -> str | None:
    """Losses or gradients were NaN or infinite, other than while a float16 loss scaler searches its scale."""
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
    clauses = []
    if first:
        names = [name for name, step in first.items() if step == began]
        others = len(first) - len(names)
        more = f", later those of {count(others, 'more parameter')}" if others else ""
        clauses.append(f"gradients were NaN or infinite, first of {listed(names)} at step {began:,}{more}")
    if len(bad_losses):
        clauses.append(
            f"the loss was not finite in {count(len(bad_losses), 'step')}, first at step {bad_losses[0] + 1:,}"
        )
    if skipped:
        clauses.append(f"{count(skipped, 'step')} of {evidence.steps:,} were skipped")
    if evidence.traces:
        clauses.append(
            f"{evidence.traces[0]} has the module that it came from: ravine.diagnose.reproduce runs it again"
        )
    return _sentence(clauses)


FACTORS = ("alpha", "rho", "betas", "beta1", "beta2", "momentum", "ema_decay")
"""The weight of the past in an average, by every name that an optimizer of this project has for it."""


def outside_range(evidence: Evidence) -> str | None:
    """A weight of the past that is 1 or more: what should average or fade grows, or never changes."""
    for name, values in evidence.hypers.items():
        base = name.partition("/")[0]
        high = values[np.isfinite(values)].max(initial=0.0)
        if base in FACTORS and high >= 1:
            what = "grows with every step" if high > 1 else "never changes" if base != "momentum" else "never fades"
            return (
                f"{base} was {number(high)}. It is the weight of the past: with {number(high)} what it averages {what}."
            )
    return None


def nonfinite_validation(evidence: Evidence) -> str | None:
    """Validation losses that are not finite, where those of training are."""
    if not np.isfinite(evidence.losses).all():
        return None
    rows = [row for row in evidence.epochs if "valid_loss" in row]
    bad = [row.get("epoch", i) for i, row in enumerate(rows, start=1) if not np.isfinite(row["valid_loss"])]
    if not bad:
        return None
    return (
        f"The validation loss was NaN or infinite in {count(len(bad), 'epoch')} of {len(rows)}, first in epoch {bad[0]}, "
        f"while every training loss was finite."
    )


# --- the learning rate ----------------------------------------------------------------------------------------------

HIGH_RATIO = 3e-2
"""Far above 1e-2. Not enough alone: RMSprop on a new Linear(784, 200) has 0.05 to 0.5 in its first steps, logistic
regression 0.04 throughout, and both train well. So the loss must show it, too."""
USUAL_RATIO = 1e-2
"""Healthy runs are below it after their first steps; where the loss rises again, this is enough."""
WHOLE_RATIO = 1.0
"""An update as large as the weight. With so few steps that the loss is hardly known, only this is enough: healthy runs
have 0.5 at most."""
THROWN_BACK = 3.0
"""Times the initial loss, in three of five consecutive steps. Healthy runs have less than 1.1, and 12 where RMSprop's
first steps are ten times as long as the later ones."""
STAYED = 16
"""Steps from which on a second half that is not once near the start says enough, with an update as large as the weight."""
THROWN_FAR = 100.0
THROWN_AWAY = 1e4
"""Times the initial loss, in three of five consecutive steps: this is said whatever the loss came back to. A model whose units
have all died ends at the loss of a constant, which may be far below that of its first step."""
NOT_LEARNED = 0.8
HALF_LEARNED = 0.5
HARDLY_LEARNED = 0.1
"""Fractions of the initial loss at the end of a run, whose loss did not jump, jumped, and jumped very far; healthy runs of
one epoch or more end below 0.3."""
LOST = 0.5
"""Fraction of the improvement that is lost again; healthy runs lose less than 0.02 to noise."""
BEYOND_NOISE = 5.0
"""Times the deviation of what is compared, by which a fall and a rise must exceed the noise of the batches. Where nothing can
be learned, the lowest of 20 levels lies 2 deviations below the last, up to 4 in one run of a thousand."""
JUMP_BEYOND_NOISE = 10.0
"""The same for the highest loss: 27 and more where the rate is too high, 6 at most for targets with very heavy tails."""
FAR_UNSTEADY = 0.5
"""An update of half the weight in the second half of a run. RMSprop wanders with 0.2 where nothing can be learned."""
LOW_RATIO = 1e-4
STILL_FALLING = 0.2
"""Fraction of the improvement in the last 30 % of a run: 0.3 for a straight line; 0.13 or less in healthy runs."""
VANISHED = 1e-5
"""Fraction of the highest rate. A cosine is below it in its last thousandth, one cycle in its last hundredth."""
VANISHED_SHARE = 0.15
FEWEST_VANISHED = 20
HARDLY_FALLEN = 0.95
RISEN = 1.2
"""Fractions of the initial loss. A run that ends above the second has another problem than small steps."""


def rate_too_high(evidence: Evidence) -> str | None:
    """Updates that are large relative to the weights, and a loss that jumped, does not fall, or rose again."""
    course, ratio = curve(evidence, 3), ratios(evidence)
    if course is None:
        return None
    if not np.isfinite(ratio).any():  # an optimizer that is not ours tells nothing of its updates
        what = _thrown_far(course)
        return what and f"{what}. {_used(evidence, 'lr', 'The learning rate')}."
    highest = float(np.nanmax(ratio))
    late = median_of(ratio[len(ratio) // 2 :])
    if highest < HIGH_RATIO:
        return None
    what = _lost(course, late, highest)
    if what is None:
        return None
    row = int(np.nanargmax(ratio))
    history = evidence.history
    where = step_range(int(history.first[row]), int(history.last[row]))
    later = f" and {number(late)} times in the second half" if late >= USUAL_RATIO else ""
    return (
        f"{what}. The norm of an update was up to {number(highest)} times that of its weight ({where}; median over the weights)"
        f"{later}, where {USUAL_TEXT} is usual. {_used(evidence, 'lr', 'The learning rate')}."
    )


def _thrown_far(course: Curve) -> str | None:
    """What losses alone prove: they rose by a factor of 100, and are still far above the start or broke."""
    first, last = course.first, course.losses[-3:]
    if not course.whole:
        far = last.max() >= THROWN_FAR * first
        return (
            f"The loss rose from {number(first)} to {number(last.max())} and then became NaN or infinite"
            if far
            else None
        )
    if course.jump < THROWN_FAR * first + JUMP_BEYOND_NOISE * course.noise or course.end < THROWN_BACK * first:
        return None
    return f"The loss rose from {number(first)} to {number(course.jump)} and ended at {number(course.end)}"


def _lost(course: Curve, late: float, highest: float) -> str | None:
    """What is wrong with the loss, if anything."""
    first, end, jump = course.first, course.end, course.jump
    last = course.losses[-3:]
    if not course.whole and last.max() >= 10 * first:
        return f"The loss rose from {number(first)} to {number(last.max())} and then became NaN or infinite"
    jumped = jump >= THROWN_BACK * first + JUMP_BEYOND_NOISE * course.noise
    unsteady = late >= HIGH_RATIO
    few = len(course.losses) < FEWEST_STEPS
    if few and highest < WHOLE_RATIO:
        return None
    if end >= HALF_LEARNED * first and jumped:
        return f"The loss rose from {number(first)} to {number(jump)} and ended at {number(end)}"
    # thrown so far that the noise, too, is that of the height: not one step of the second half is near the start
    stayed = len(course.losses) >= STAYED and course.losses[len(course.losses) // 2 :].min() >= THROWN_BACK * first
    if highest >= WHOLE_RATIO and stayed:
        return f"The loss rose from {number(first)} to {number(course.losses.max())} and ended at {number(end)}"
    if few:
        return None
    if jump >= THROWN_AWAY * first:
        return f"The loss jumped from {number(first)} to {number(jump)} and ended at {number(end)}"
    risen = end >= RISEN * first + BEYOND_NOISE * course.noise  # the first loss is that of a single batch
    if end >= NOT_LEARNED * first and unsteady and (risen or late >= FAR_UNSTEADY):
        return f"The loss did not fall: {number(first)} before the first step, {number(end)} at the end"
    if end >= HARDLY_LEARNED * first and jump >= THROWN_FAR * first:
        return f"The loss jumped from {number(first)} to {number(jump)} and came back only to {number(end)}"
    fallen = course.gain > BEYOND_NOISE * course.noise
    lost = end - course.best >= max(LOST * course.gain, BEYOND_NOISE * course.level_noise)
    if fallen and lost and (jumped or late >= USUAL_RATIO):
        return f"The loss fell from {number(first)} to {number(course.best)}, but ended at {number(end)}"
    return None


def rate_too_low(evidence: Evidence) -> str | None:
    """Updates far smaller than the weights while the rate was high, and a loss that hardly fell or still falls."""
    course = curve(evidence, FEWEST_STEPS)
    ratio = ratios(evidence)[_rows_of_high_rate(evidence)]
    usual = median_of(ratio)
    if course is None or not course.whole or not usual < LOW_RATIO or course.end > RISEN * course.first:
        return None
    late = len(course.levels) * 7 // 10
    fall = float(course.levels[0] - course.levels[-1])
    share = float(course.levels[late - 1] - course.levels[-1]) / fall if fall > 0 else 0.0
    if course.end >= HARDLY_FALLEN * course.first:
        what = f"The loss hardly fell, from {number(course.first)} to {number(course.end)}"
    elif share >= STILL_FALLING:
        what = f"The loss was still falling at the end: {share:.0%} of its fall was in the last 30% of the steps"
    else:
        return None
    return (
        f"{what}. The norm of an update was {number(usual)} times that of its weight (median), where {USUAL_TEXT} is usual. "
        f"{_used(evidence, 'lr', 'The learning rate')}."
    )


def no_update(evidence: Evidence) -> str | None:
    """Gradients, and updates that are exactly 0 in every step."""
    history, trained = evidence.history, was_trained(evidence)
    if not len(history) or not trained.any() or history.nonfinite.any():
        return None
    updates, gradients = history.update_max[:, trained], history.grad_max[:, trained]
    if not (np.nan_to_num(updates) == 0).all() or not (np.nan_to_num(gradients) > 0).any():
        return None
    return (
        f"Every update of every parameter was 0 in {count(evidence.steps, 'step')}, though there were gradients. "
        f"{_used(evidence, 'lr', 'The learning rate')}."
    )


def rate_vanished(evidence: Evidence) -> str | None:
    """A rate that fell to next to nothing long before the end: the rest of the run changed nothing."""
    rate = evidence.hypers.get("lr")
    if rate is None or rate.ndim != 1 or not np.isfinite(rate).all() or len(rate) < FEWEST_VANISHED:
        return None
    high = float(rate.max(initial=0.0))
    gone = rate <= VANISHED * high
    # the last steps in a row; a schedule that ends at 0 has few of them
    last = len(rate) if gone.all() else int(np.argmin(gone[::-1]))
    if high <= 0 or last < max(FEWEST_VANISHED, VANISHED_SHARE * len(rate)):
        return None
    return (
        f"The learning rate fell from {number(high)} to {number(float(rate[-1]))}. In the last {count(last, 'step')} of "
        f"{len(rate):,} it was less than a hundred-thousandth of what it had been: they changed nothing."
    )


def _rows_of_high_rate(evidence: Evidence) -> np.ndarray:
    """The rows of the history in which the rate was at least half its highest value; all if it is not known."""
    history, rate = evidence.history, evidence.hypers.get("lr")
    if rate is None or rate.ndim != 1 or not np.isfinite(rate).any():
        return np.ones(len(history), dtype=bool)
    middle = np.clip((history.first + history.last) // 2 - 1, 0, len(rate) - 1)
    high: np.ndarray = rate[middle] >= np.nanmax(rate) / 2
    return high


def _used(evidence: Evidence, name: str, shown: str) -> str:
    """The value of a hyperparameter, or its range if it changed."""
    values = evidence.hypers.get(name)
    if values is None or not np.isfinite(values).any():
        return f"{shown} is not known"
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return f"{shown} was {number(low)}" if low == high else f"{shown} was {number(low)} to {number(high)}"


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
