"""Data in memory, served in batches without Python code for each row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine._whole_numbers import whole
from ravine.errors import OptionError, shown
from ravine.train import _rows as rows
from ravine.train._arguments_of_others import answers


class Batches:
    """Rows of inputs and targets in batches; the last batch of an epoch may be smaller.

    The order of an epoch depends only on the seed and the number of the epoch, so any epoch can be served again,
    from any batch on.

    Args:
        inputs: shape (rows, ...); a tuple or dict of such tensors for a model of several inputs; or a list with a tensor
            for each row, such as pictures of unequal size, of which a batch is a list. NumPy arrays become tensors:
            float64 becomes float32 (torch's default dtype), and whole numbers int64; tensors stay as they are.
        targets: the same forms.
        batch_size: rows in a batch.
        shuffle: whether every epoch has a new order.
        seed: decides these orders.
        drop_last: leave out the rows at the end of an epoch that do not fill a batch.

    Attributes:
        row_numbers: of rows that were taken from other data, their numbers there, by which messages name them; None
            otherwise.

    Raises:
        OptionError: no rows, different numbers of inputs and targets, or a batch size below 1.

    Example::

        train = Batches(images, labels, batch_size=64)
        for inputs, targets in train:
            ...
    """

    @answers
    def __init__(
        self,
        inputs: Any,
        targets: Any,
        batch_size: int,
        shuffle: bool = True,
        *,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.inputs, self.targets, self._rows = rows.checked(inputs, targets)
        size, number = whole(batch_size), whole(seed)
        if size is None or size < 1:
            raise OptionError(f"batch_size {shown(batch_size)}: a batch has at least 1 row.")
        if number is None or number < 0:
            raise OptionError(f"seed {shown(seed)}: a seed is a whole number, 0 or above.")
        if drop_last and size > self._rows:
            raise OptionError(
                f"drop_last with batch_size {size}: there are only {self._rows} rows, so no batch is left."
            )
        self.batch_size, self.shuffle, self.seed, self.drop_last = size, shuffle, number, bool(drop_last)
        self.row_numbers: Tensor | None = None
        self._passes = 0

    def __repr__(self) -> str:
        order = f"seed={self.seed}" if self.shuffle else "in order"
        dropped = ", drop_last" if self.drop_last else ""
        return (
            f"Batches(inputs {rows.text(self.inputs)}, targets {rows.text(self.targets)}, {len(self)} of "
            f"{self.batch_size} rows, {order}{dropped})"
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._rows // self.batch_size if self.drop_last else -(-self._rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """The batches of an epoch; each call serves the next one."""
        self._passes += 1
        return self.epoch(self._passes - 1)

    @property
    def last_rows(self) -> int:
        """How many rows the last batch of an epoch has."""
        return self._rows - (len(self) - 1) * self.batch_size if not self.drop_last else self.batch_size

    def epoch(self, number: int, start: int = 0, *, part: int = 0, parts: int = 1) -> Iterator[tuple[Any, Any]]:
        """The batches of epoch ``number``, counted from 0, from batch ``start`` on.

        With ``parts`` above 1, only rows ``part``, ``part + parts``, ... of each batch: one process's part of it.
        """
        if not self.shuffle:
            yield from islice(self.in_order(part, parts), start, len(self))
            return
        order, size = self._order(number), self.batch_size
        for at in range(start * size, len(self) * size, size):
            chosen = order[at + part : at + size : parts] if parts > 1 else order[at : at + size]
            yield rows.take(self.inputs, chosen), rows.take(self.targets, chosen)

    def in_order(self, part: int = 0, parts: int = 1) -> Iterator[tuple[Any, Any]]:
        """All rows in the order of the data, in batches of copies: a model may change its inputs in place."""
        for at in range(0, self._rows, self.batch_size):
            last = min(at + self.batch_size, self._rows)
            yield rows.cut(self.inputs, at + part, last, parts), rows.cut(self.targets, at + part, last, parts)

    def _order(self, number: int) -> Tensor:
        first = next((tensor for _, tensor in rows.leaves(self.inputs)), None)
        device = first.device if first is not None else torch.device("cpu")
        return epoch_order(self._rows, self.seed, number).to(device)

    def reseeded(self, seed: int) -> Batches:
        """The same rows, shuffled by another seed."""
        return self._with(self.inputs, self.targets, seed)

    def to(self, device: torch.device | str) -> Batches:
        """The same batches, with the rows on that device."""
        return self._with(rows.to(self.inputs, device), rows.to(self.targets, device), self.seed)

    def _with(self, inputs: Any, targets: Any, seed: int) -> Batches:
        made = Batches(inputs, targets, self.batch_size, self.shuffle, seed=seed, drop_last=self.drop_last)
        made.row_numbers = self.row_numbers
        return made


def epoch_order(number_of_rows: int, seed: int, number: int) -> Tensor:
    """The order of so many rows in epoch ``number``, counted from 0: int64, shape (rows,)."""
    # torch's generator takes one number; a seed sequence mixes two so that epoch 1 of seed 0 is not epoch 0 of 1
    mixed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randperm(number_of_rows, generator=torch.Generator().manual_seed(mixed))
