"""The history of parameters put together by layer, so that a model of hundreds of them fits on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ravine.watch._history import History

MOST_LAYERS = 40
"""Rows of a heat map whose names can be read."""
MOST_COLUMNS = 128


@dataclass(frozen=True, eq=False)
class LayerHistory:
    """What the steps did to each layer.

    Attributes:
        names: of the layers, in the order of the model.
        edges: the first step of each column, and the step after the last, shape (columns + 1,).
        grad_norm, param_norm, update_norm: root mean square of the norms in the steps of a column, shape (layers, columns); NaN
            where there is none.
        nonfinite: whether an element of a gradient was not finite there.
    """

    names: Sequence[str]
    edges: np.ndarray
    grad_norm: np.ndarray
    param_norm: np.ndarray
    update_norm: np.ndarray
    nonfinite: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """The norm of the update over that of the parameters, shape (layers, columns)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: np.ndarray = self.update_norm / self.param_norm
        return ratio


def by_layer(history: History, most: int = MOST_LAYERS, columns: int = MOST_COLUMNS) -> LayerHistory:
    """A history with a row for each layer: the parameters whose names agree but for the last part, or, where those are more than
    ``most``, but for more parts; and with at most so many columns."""
    names, members = layers_of(history.names, most)
    width = max(1, -(-len(history) // columns))
    starts = np.arange(0, len(history), width)
    edges = np.append(history.first[starts], history.last[-1:] + 1) if len(history) else np.zeros(1)
    steps = (history.last - history.first + 1).astype(np.float64)

    def norms(values: np.ndarray) -> np.ndarray:
        """Squares are added up over the parameters of a layer, and averaged over the steps of a column."""
        known = np.isfinite(values)
        squares = np.where(known, values, 0.0) ** 2
        joined = np.stack([squares[:, m].sum(axis=1) for m in members]) if members else np.zeros((0, len(history)))
        there = np.stack([known[:, m].any(axis=1) for m in members]) if members else np.zeros((0, len(history)), bool)
        if not len(history):
            return joined
        weights = np.where(there, steps, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.add.reduceat(joined * weights, starts, axis=1) / np.add.reduceat(weights, starts, axis=1)
        root: np.ndarray = np.sqrt(means)
        return root

    bad = np.stack([(history.nonfinite[:, m] > 0).any(axis=1) for m in members]) if members else np.zeros((0, 0), bool)
    bad = np.logical_or.reduceat(bad, starts, axis=1) if bad.size else bad
    grad, param, update = map(norms, (history.grad_norm, history.param_norm, history.update_norm))
    return LayerHistory(names, edges, grad, param, update, bad)


def layers_of(names: Sequence[str], most: int = MOST_LAYERS) -> tuple[list[str], list[list[int]]]:
    """The layers' names, in the order of their first parameters, and the places of the parameters of each."""
    deepest = max((name.count(".") for name in names), default=0)
    places: dict[str, list[int]] = {}
    for depth in range(deepest, 0, -1):
        places = {}
        for place, name in enumerate(names):
            parts = name.split(".")
            places.setdefault(".".join(parts[: min(depth, len(parts) - 1)]) or name, []).append(place)
        if len(places) <= most:
            return list(places), list(places.values())
    places = places or {name: [place] for place, name in enumerate(names)}
    if len(places) <= most:
        return list(places), list(places.values())
    groups = np.array_split(np.arange(len(places)), most)  # neighbours together, named by the first and the last
    layers, members = list(places), list(places.values())
    return (
        [layers[g[0]] if len(g) == 1 else f"{layers[g[0]]} to {layers[g[-1]]}" for g in groups],
        [[place for one in g for place in members[one]] for g in groups],
    )
