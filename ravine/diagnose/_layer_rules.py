"""Rules about layers and parameters: gradients from layer to layer, dead units, an eps that is too large.

Each is a function from the evidence to a sentence, or None.
"""

from __future__ import annotations

import numpy as np

from ravine._whole_numbers import count
from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import (
    curve,
    element_gradients,
    listed,
    median_of,
    number,
    was_trained,
    weights,
)

FEWEST_LAYERS = 4
"""With fewer layers there is no trend, only layers that differ."""
DECADES = 3.0
"""Orders of magnitude through the network. Healthy ones have 1.5 or less, where layers differ in size."""
SAME_DIRECTION = 0.7
"""The fraction of pairs of layers that follow the trend, minus that of pairs that do not (Kendall's tau)."""
DEAD_SHARE = 2 / 3
"""Of a layer's units. Healthy ReLU networks have up to a third (Adagrad on Fashion-MNIST); with learning rates ten times
too high half of the units die, and the network still trains."""
FEWEST_UNITS = 4
FEWEST_STEPS = 20
"""Steps in which a gradient was always 0."""
CONVERGED = 1e-3
"""Fraction of the initial loss below which gradients vanish because nothing is left to learn."""


def exploding(evidence: Evidence) -> str | None:
    """Gradients that grow on their way back to the first layers."""
    return _through_layers(evidence, -1)


def vanishing(evidence: Evidence) -> str | None:
    """Gradients that shrink on their way back to the first layers."""
    return _through_layers(evidence, 1)


def growing_activations(evidence: Evidence) -> str | None:
    """What comes into the layers grows from the first to the last."""
    layers = {name: value for name, value in evidence.magnitudes.items() if 0 < value < np.inf}
    names, values = list(layers), np.array(list(layers.values()))
    if len(names) < FEWEST_LAYERS or (trend := _trend(values, 1)) is None:
        return None
    return (
        f"In the first batch the mean magnitude of what comes into a layer is {number(values[0])} at {names[0]} and "
        f"{number(values[-1])} at {names[-1]}, a factor of {number(10 ** (trend / (len(names) - 1)))} from layer to layer."
    )


def _trend(values: np.ndarray, direction: int) -> float | None:
    """By how many orders of magnitude values rise (1) or fall (-1) from the first to the last; None if there is no trend.

    Args:
        values: above 0, one for each layer, at least two.
    """
    logs = np.log10(values)
    early, late = np.triu_indices(len(logs), k=1)
    slopes = (logs[late] - logs[early]) / (late - early)
    # the median of all slopes between two layers (Theil and Sen): robust against a single odd layer
    decades = float(np.median(slopes)) * direction * (len(logs) - 1)
    return None if decades < DECADES or float(np.sign(slopes).mean()) * direction < SAME_DIRECTION else decades


def _through_layers(evidence: Evidence, direction: int) -> str | None:
    """A trend of the gradients from the first weights to the last, upwards (1) or downwards (-1)."""
    columns = weights(evidence)
    if len(columns) < FEWEST_LAYERS or not all(evidence.dims[i] >= 2 for i in columns):
        return None
    sizes = element_gradients(evidence)
    middles = np.array([median_of(sizes[:, i]) for i in columns])
    # an exact 0 has no logarithm, and is another fault
    columns, middles = columns[middles > 0], middles[middles > 0]
    if len(columns) < FEWEST_LAYERS:
        return None
    decades = _trend(middles, direction)
    if decades is None:
        return None
    first, last = (evidence.history.names[i] for i in (columns[0], columns[-1]))
    return (
        f"The root mean square of the gradient is {number(middles[0])} in {first} and {number(middles[-1])} in {last} (median "
        f"over the run): {decades:.1f} orders of magnitude over {len(middles)} layers, a factor of "
        f"{number(10 ** (decades / (len(middles) - 1)))} from "
        "layer to layer."
    )


def dead_units(evidence: Evidence) -> str | None:
    """Layers most of whose inputs were 0 for every row."""
    dead_layers = {
        name: (count, dead)
        for name, (count, dead) in evidence.dead_units.items()
        if count >= FEWEST_UNITS and dead > DEAD_SHARE * count
    }
    if not dead_layers:
        return None
    parts = [f"{dead:,} of the {count:,} inputs of {name}" for name, (count, dead) in dead_layers.items()]
    return f"These units were 0 for every row of the last batch examined: {listed(parts)}."


def no_gradient(evidence: Evidence) -> str | None:
    """Parameters that require a gradient and never had one: all of them, or some while others had."""
    history = evidence.history
    trained = was_trained(evidence)
    requires = np.array(evidence.trained, dtype=bool)
    if not trained.any():
        if not len(history) or not requires.any():
            return None
        return (
            f"No parameter had a gradient in any of {count(evidence.steps, 'step')}: call backward() before step(), "
            "and zero_grad() not between the two."
        )
    names = [history.names[i] for i in np.flatnonzero(requires & ~trained)]
    if not names:
        return None
    steps = int(history.last[-1] - history.first[0] + 1)
    return f"{listed(names)} had no gradient in any of {count(steps, 'step')}, while others had."


def zero_gradient(evidence: Evidence) -> str | None:
    """Parameters whose gradient was exactly 0 in every element of every step."""
    history, trained = evidence.history, was_trained(evidence)
    if not len(history) or not trained.any():
        return None
    steps = history.steps.sum(axis=0)
    # rows without a gradient of the parameter do not count
    zero = trained & (steps >= FEWEST_STEPS) & ((history.grad_max == 0) | (history.steps == 0)).all(axis=0)
    names = [history.names[i] for i in np.flatnonzero(zero)]
    if not names:
        return None
    every = bool(zero.sum() == trained.sum())
    whom = "every parameter" if every else listed(names)
    cleared = " Is zero_grad() called between backward() and step()?" * every
    return f"The gradient of {whom} was exactly 0 in all of {count(int(steps[zero].max()), 'step')}.{cleared}"


def zero_weights(evidence: Evidence) -> str | None:
    """Weights that were 0 throughout and had gradients of exactly 0: nothing can come through them, nor go back."""
    history, columns = evidence.history, weights(evidence)
    if not len(history) or not len(columns):
        return None
    columns = columns[history.steps.sum(axis=0)[columns] >= FEWEST_STEPS]
    known = history.steps[:, columns] > 0
    zero = (((history.param_norm == 0) & (history.grad_max == 0))[:, columns] | ~known).all(axis=0)
    names = [history.names[i] for i in columns[zero]]
    if not names:
        return None
    return f"Every number of {listed(names)} was 0 from the first step to the last, and so was every gradient."


def eps_dominates(evidence: Evidence) -> str | None:
    """An eps above the root mean square of the gradient, for most elements in most of the run."""
    values, trained = evidence.hypers.get("eps"), np.flatnonzero(was_trained(evidence))
    if values is None or not len(trained):
        return None
    eps = median_of(values)
    sizes = np.array(evidence.history.sizes)[trained]
    gradients = element_gradients(evidence)[:, trained]
    rows = ~_converged_rows(evidence)
    middles = np.array([median_of(column[rows]) for column in gradients.T])
    below = (middles > 0) & (middles < eps)
    # more than half of the rows, because the median of a few is not that of the run
    if rows.sum() * 2 <= len(rows) or not (sizes * below).sum() * 2 > sizes.sum():
        return None
    names = [evidence.history.names[i] for i in trained[below]]
    return (
        f"eps is {number(eps)}, but the root mean square of the gradient is {number(median_of(middles[below]))} (median) in "
        f"{listed(names)}, {(sizes * below).sum() / sizes.sum():.0%} of all elements."
    )


def _converged_rows(evidence: Evidence) -> np.ndarray:
    """The rows of the history in which the loss was next to nothing."""
    history, course = evidence.history, curve(evidence, 1)
    if course is None:
        return np.zeros(len(history), dtype=bool)
    middle = np.clip((history.first + history.last) // 2 - 1, 0, len(course.losses) - 1)
    converged: np.ndarray = course.losses[middle] < CONVERGED * course.first
    return converged
