"""Data without a length, such as a stream that never ends: so many batches of it are an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ravine._whole_numbers import count, whole
from ravine.errors import OptionError, an, kind_of, shown


class Stream:
    """Batches of data without a length; each epoch takes the next so many of them.

    Where the data end, they begin again. A run that is resumed goes through what was served before, so that it gets the
    batches that come next: data that draw random numbers should draw them from a generator of their own, with a seed.

    Args:
        data: gives batches each time it is iterated over: a DataLoader of an ``IterableDataset``, or any iterable.
        steps_per_epoch: how many batches an epoch has.

    Raises:
        OptionError: the data can be gone through once only, or ``steps_per_epoch`` is no number of batches.

    Example::

        learn = Learner(model, (Stream(loader, steps_per_epoch=500), valid), cross_entropy)
        learn.fit_one_cycle(3, lr=1e-3)
    """

    def __init__(self, data: Iterable[Any], steps_per_epoch: int) -> None:
        if not isinstance(data, Iterable) or isinstance(data, Iterator):
            raise OptionError(
                f"Stream: the data are {an(kind_of(data))}; give something that starts over each time it is iterated over, such as a DataLoader "
                "or a class with __iter__."
            )
        steps = whole(steps_per_epoch)
        if steps is None or steps < 1:
            raise OptionError(
                f"Stream: steps_per_epoch {shown(steps_per_epoch)}: give a number of batches, at least 1."
            )
        self.data, self.steps_per_epoch = data, steps
        self._batches: Iterator[Any] | None = None
        self._served = 0  # since the first batch of the first epoch

    def __repr__(self) -> str:
        return f"Stream({type(self.data).__name__}, {count(self.steps_per_epoch, 'batch', 'batches')} in an epoch)"

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        """The next so many batches."""
        return self.epoch(-(-self._served // self.steps_per_epoch))

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """The batches of epoch ``number``, counted from 0, from batch ``start`` on."""
        wanted = number * self.steps_per_epoch + start
        if self._batches is None or self._served > wanted:
            self._batches, self._served = iter(self.data), 0
        while self._served < wanted:
            self._next()
        for _ in range(self.steps_per_epoch - start):
            yield self._next()

    def _next(self) -> Any:
        assert self._batches is not None
        try:
            batch = next(self._batches)
        except StopIteration:
            self._batches = iter(self.data)
            batch = next(self._batches, None)
            if batch is None:
                raise OptionError("The stream gave no batch. Is it empty?") from None
        self._served += 1
        return batch
