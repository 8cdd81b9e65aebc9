"""Data in memory, served in batches without Python code for each row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ravine.errors import OptionError, shown


class Batches:
    """Rows of inputs and targets in batches; the last batch of an epoch may be smaller.

    The order of an epoch depends only on the seed and the number of the epoch, so any epoch can be served again,
    from any batch on.

    Args:
        inputs: shape (rows, ...).
        targets: shape (rows, ...).
        batch_size: rows in a batch.
        shuffle: whether every epoch has a new order.
        seed: decides these orders.

    Raises:
        OptionError: no rows, different numbers of inputs and targets, or a batch size below 1.

    Example::

        train = Batches(images, labels, batch_size=64)
        for inputs, targets in train:
            ...
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, batch_size: int, shuffle: bool = True, *, seed: int = 0
    ) -> None:
        if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)) or not inputs.ndim or not targets.ndim:
            raise OptionError("Batches takes two tensors, inputs and targets, with a row for each example.")
        if len(inputs) != len(targets):
            raise OptionError(f"There are {len(inputs)} rows of inputs, but {len(targets)} of targets.")
        if not len(inputs):
            raise OptionError("There are no rows to make batches of.")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise OptionError(f"batch_size {shown(batch_size)}: a batch has at least 1 row.")
        if not isinstance(seed, int) or seed < 0:
            raise OptionError(f"seed {shown(seed)}: a seed is a whole number, 0 or above.")
        self.inputs, self.targets = inputs, targets
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self._passes = 0

    def __repr__(self) -> str:
        inputs, targets = (
            f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in (self.inputs, self.targets)
        )
        order = f"seed={self.seed}" if self.shuffle else "in order"
        return f"Batches(inputs {inputs}, targets {targets}, {len(self)} of {self.batch_size} rows, {order})"

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.inputs) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch; each call serves the next one."""
        self._passes += 1
        return self.epoch(self._passes - 1)

    def epoch(self, number: int, start: int = 0, *, part: int = 0, parts: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of epoch ``number``, counted from 0, from batch ``start`` on.

        With ``parts`` above 1, only rows ``part``, ``part + parts``, ... of each batch: one process's part of it.
        """
        if not self.shuffle:
            yield from islice(self.in_order(part, parts), start, None)
            return
        order, size = self._order(number), self.batch_size
        for at in range(start * size, len(order), size):
            chosen = order[at + part : at + size : parts] if parts > 1 else order[at : at + size]
            yield self.inputs.index_select(0, chosen), self.targets.index_select(0, chosen)

    def in_order(self, part: int = 0, parts: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch in the order of the data, as copies: a model may change its inputs in place."""
        for inputs, targets in zip(
            self.inputs.split(self.batch_size), self.targets.split(self.batch_size), strict=True
        ):
            yield inputs[part::parts].clone(), targets[part::parts].clone()

    def _order(self, number: int) -> Tensor:
        return epoch_order(len(self.inputs), self.seed, number).to(self.inputs.device)

    def reseeded(self, seed: int) -> Batches:
        """The same rows, shuffled by another seed."""
        return Batches(self.inputs, self.targets, self.batch_size, self.shuffle, seed=seed)

    def to(self, device: torch.device | str) -> Batches:
        """The same batches, with the rows on that device."""
        return Batches(self.inputs.to(device), self.targets.to(device), self.batch_size, self.shuffle, seed=self.seed)


def epoch_order(rows: int, seed: int, number: int) -> Tensor:
    """The order of so many rows in epoch ``number``, counted from 0: int64, shape (rows,)."""
    # torch's generator takes one number; a seed sequence mixes two so that epoch 1 of seed 0 is not epoch 0 of 1
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randperm(rows, generator=torch.Generator().manual_seed(mixed))
