"""Rules about layers and parameters: gradients from layer to layer, units that are dead, an eps that is too large.

Each is a function from the evidence to what it found, in words, or None.
"""

from __future__ import annotations

import numpy as np

from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import (
    counted,
    curve,
    element_gradients,
    listed,
    median_of,
    number,
    was_trained,
    weights,
)

FEWEST_LAYERS = 4
"""Of a network that has a trend through its layers, and not just two that differ."""
DECADES = 3.0
"""Orders of magnitude through the network. Healthy ones of this project have 1.5 or less, where layers differ in size."""
SAME_DIRECTION = 0.7
"""Of pairs of layers that differ as the trend says, less those that differ the other way (Kendall's tau)."""
DEAD_SHARE = 2 / 3
"""Of a layer's units. Healthy ReLU networks have up to a third (Adagrad on Fashion-MNIST); learning rates ten times too
high kill a half and still train."""
FEWEST_UNITS = 4
FEWEST_STEPS = 20
"""In which a gradient was always 0."""
CONVERGED = 1e-3
"""Share of the first loss below which gradients vanish because there is nothing left to learn."""


def exploding(evidence: Evidence) -> str | None:
    """Gradients that grow on their way back to the first layers."""
    return _through_layers(evidence, -1)


def vanishing(evidence: Evidence) -> str | None:
    """Gradients that shrink on their way back to the first layers."""
    return _through_layers(evidence, 1)


def _through_layers(evidence: Evidence, direction: int) -> str | None:
    """A trend through the weights in their order, up (1) or down (-1) from the first to the last."""
    columns = weights(evidence)
    if len(columns) < FEWEST_LAYERS or not all(evidence.dims[i] >= 2 for i in columns):
        return None
    sizes = element_gradients(evidence)
    middles = np.array([median_of(sizes[:, i]) for i in columns])
    # an exact 0 is another fault, and has no logarithm
    columns, middles = columns[middles > 0], middles[middles > 0]
    if len(columns) < FEWEST_LAYERS:
        return None
    logs = np.log10(middles)
    early, late = np.triu_indices(len(logs), k=1)
    slopes = (logs[late] - logs[early]) / (late - early)
    # the median of all slopes between two layers (Theil and Sen): a single odd layer does not move it
    slope = float(np.median(slopes)) * direction
    decades = slope * (len(logs) - 1)
    if decades < DECADES or float(np.sign(slopes).mean()) * direction < SAME_DIRECTION:
        return None
    first, last = (evidence.history.names[i] for i in (columns[0], columns[-1]))
    return (
        f"An element of the gradient has {number(middles[0])} in {first} and {number(middles[-1])} in {last} (root mean "
        f"square, median over the run): {decades:.1f} orders of magnitude through {len(logs)} layers of weights, a "
        f"factor of {number(10**slope)} from layer to layer."
    )


def dead_units(evidence: Evidence) -> str | None:
    """Layers most of whose inputs were 0 for every row."""
    found = {
        name: (count, dead)
        for name, (count, dead) in evidence.dead_units.items()
        if count >= FEWEST_UNITS and dead > DEAD_SHARE * count
    }
    if not found:
        return None
    said = [f"{dead:,} of the {count:,} inputs of {name}" for name, (count, dead) in found.items()]
    return f"In the last batches these units were 0 for every row: {listed(said)}."


def no_gradient(evidence: Evidence) -> str | None:
    """Parameters that ask for a gradient and never had one, while others had."""
    history = evidence.history
    trained = was_trained(evidence)
    if not trained.any():
        return None
    asked = np.array(evidence.trained, dtype=bool)
    names = [history.names[i] for i in np.flatnonzero(asked & ~trained)]
    if not names:
        return None
    steps = int(history.last[-1] - history.first[0] + 1)
    return f"{listed(names)} had no gradient in any of {counted(steps, 'step')}, while others had."


def zero_gradient(evidence: Evidence) -> str | None:
    """Parameters whose gradient was exactly 0 in every element of every step, while others' was not."""
    history, trained = evidence.history, was_trained(evidence)
    if not len(history) or not trained.any():
        return None
    steps = history.steps.sum(axis=0)
    # a row in which a parameter had no gradient says nothing of it
    zero = trained & (steps >= FEWEST_STEPS) & ((history.grad_max == 0) | (history.steps == 0)).all(axis=0)
    names = [history.names[i] for i in np.flatnonzero(zero)]
    if not names:
        return None
    whom = "every parameter" if zero.sum() == trained.sum() else listed(names)
    return f"The gradient of {whom} was exactly 0 in all of {counted(int(steps[zero].max()), 'step')}."


def eps_dominates(evidence: Evidence) -> str | None:
    """An eps above the gradient's root mean square, for most elements in most of the run."""
    values, trained = evidence.hypers.get("eps"), np.flatnonzero(was_trained(evidence))
    if values is None or not len(trained):
        return None
    eps = median_of(values)
    sizes = np.array(evidence.history.sizes)[trained]
    gradients = element_gradients(evidence)[:, trained]
    rows = ~_converged_rows(evidence)
    middles = np.array([median_of(column[rows]) for column in gradients.T])
    below = (middles > 0) & (middles < eps)
    # more than half of the rows, because the median of a few that remain says nothing of the run
    if rows.sum() * 2 <= len(rows) or not (sizes * below).sum() * 2 > sizes.sum():
        return None
    names = [evidence.history.names[i] for i in trained[below]]
    return (
        f"eps is {number(eps)}, but an element of the gradient has {number(median_of(middles[below]))} (root mean square, median) in "
        f"{listed(names)}, {(sizes * below).sum() / sizes.sum():.0%} of all elements."
    )


def _converged_rows(evidence: Evidence) -> np.ndarray:
    """The rows of the history in which the loss was next to nothing."""
    history, course = evidence.history, curve(evidence, 1)
    if course is None:
        return np.zeros(len(history), dtype=bool)
    middle = np.clip((history.first + history.last) // 2 - 1, 0, len(course.losses) - 1)
    found: np.ndarray = course.losses[middle] < CONVERGED * course.first
    return found
