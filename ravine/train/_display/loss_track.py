"""The loss of every step in a few hundred points, however many steps come: what the curve in a notebook is drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

_POINTS = 200


class LossTrack:
    """Means of equally many steps; when there are twice ``points`` of them, neighbours are joined.

    Attributes:
        count: how many steps there were.
        broken: how many losses were NaN or infinite; they are in no mean.
    """

    def __init__(self, points: int = _POINTS) -> None:
        self.count = self.broken = 0
        self._most, self._size = 2 * points, 1
        self._means: list[float] = []
        self._sum, self._known, self._here = 0.0, 0, 0

    def add(self, losses: Iterable[float]) -> None:
        """Take the losses of the next steps."""
        for loss in losses:
            self.count += 1
            self._here += 1
            if math.isfinite(loss):
                self._sum += loss
                self._known += 1
            else:
                self.broken += 1
            if self._here == self._size:
                self._means.append(self._mean())
                self._sum, self._known, self._here = 0.0, 0, 0
                if len(self._means) == self._most:
                    self._join()

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """The middle of the steps that each point covers, counted from 1, and their mean loss; NaN if none was finite."""
        means = [*self._means, self._mean()] if self._here else self._means
        places = (np.arange(len(means)) + 0.5) * self._size + 0.5
        if self._here:
            places[-1] = len(self._means) * self._size + (self._here + 1) / 2
        return places, np.array(means, dtype=np.float64)

    def _mean(self) -> float:
        return self._sum / self._known if self._known else math.nan

    def _join(self) -> None:
        pairs = np.array(self._means).reshape(-1, 2)
        known = np.isfinite(pairs)
        with np.errstate(invalid="ignore", over="ignore"):
            joined = np.where(known, pairs, 0.0).sum(axis=1) / known.sum(axis=1)
        self._means, self._size = joined.tolist(), 2 * self._size
