"""The order in which a training gets its batches, and how to return to the middle of any epoch.

``Batches`` keep no random state: an epoch's order depends on its number alone. Any other loader is taken back to the
random states that its epoch began with, and its batches are fetched again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch

from ravine import _randomness as randomness
from ravine.train import _parallel as parallel
from ravine.train._batches import Batches
from ravine.train._stream import Stream


class DataOrder:
    """The position of a training in the orders of its data, over all fits.

    Attributes:
        epochs: how many epochs are done; the number of the next one's order.
        epoch_start: the random states that the running epoch began with; None where ``Batches`` need none.
    """

    def __init__(self, epochs: int = 0) -> None:
        self.epochs = epochs
        self.epoch_start: dict[str, Any] | None = None

    def batches(self, data: Iterable[Any], first: int) -> Iterator[Any]:
        """This epoch's batches from number ``first`` on; of several processes, this one's part of each."""
        if isinstance(data, Batches):
            return data.epoch(self.epochs, first, part=parallel.rank(), parts=parallel.size())
        if isinstance(data, Stream):
            return data.epoch(self.epochs, first)
        if first == 0:
            self.epoch_start = random_states(data)
        return self._from(data, first)

    def _from(self, loader: Iterable[Any], first: int) -> Iterator[Any]:
        """The batches before ``first`` are fetched again and dropped; the current random states are restored."""
        sampler = getattr(loader, "sampler", None)
        if sampler is not None and hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self.epochs)
        if first == 0:
            return iter(loader)
        now = random_states(loader)
        if self.epoch_start is not None:
            restore(self.epoch_start, loader)
        batches = iter(loader)
        for _ in islice(batches, first):
            pass
        restore(now, loader)
        return batches


def random_states(*loaders: Any) -> dict[str, Any]:
    """The random states that decide in which order these loaders will give their batches."""
    return {"random": randomness.state(), "generators": [g.get_state() for g in generators(loaders)]}


def restore(states: dict[str, Any], *loaders: Any) -> None:
    """Restore what :func:`random_states` gave."""
    randomness.restore(states["random"])
    for generator, state in zip(generators(loaders), states["generators"], strict=False):
        generator.set_state(state)


def generators(loaders: Iterable[Any]) -> list[torch.Generator]:
    """The random generators that DataLoaders and their samplers have of their own."""
    holders = [h for one in loaders for h in (one, getattr(one, "sampler", None), getattr(one, "batch_sampler", None))]
    generators = [getattr(holder, "generator", None) for holder in holders]
    unique = {id(g): g for g in generators if isinstance(g, torch.Generator)}
    return list(unique.values())
