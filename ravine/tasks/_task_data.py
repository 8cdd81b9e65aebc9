"""What a task trains and tests on: rows in memory, or loaders of data that are read or drawn as they are needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, Subset

from ravine.errors import OptionError
from ravine.train import Batches, Stream
from ravine.train import _rows as rows
from ravine.train._data_order import generators

# large enough to be fast, small enough for any memory, even if a layer makes 64 numbers of each input
_EVALUATION_ROWS = 4096
_EVALUATION_NUMBERS = 2**17


@dataclass(frozen=True, repr=False)
class Data:
    """Rows in memory, in the forms that :class:`ravine.train.Batches` takes.

    Attributes:
        inputs: shape (rows, ...); or a tuple or dict of such tensors, or a list with a tensor for each row.
        targets: the same forms.
        row_numbers: of rows that were taken from other data, their numbers there; None otherwise.

    Raises:
        OptionError: one of them cannot be rows or has none, or their numbers of rows differ.
    """

    inputs: Any
    targets: Any
    row_numbers: Tensor | None = field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        try:
            inputs, targets, _ = rows.checked(self.inputs, self.targets)
        except OptionError as error:
            raise OptionError(f"Data: {error}") from None
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)

    def __len__(self) -> int:
        return rows.count(self.targets)

    def __repr__(self) -> str:
        return f"Data(inputs {rows.text(self.inputs)}, targets {rows.text(self.targets)})"

    def take(self, chosen: Tensor) -> Data:
        """The rows of these numbers (int64), in this order."""
        taken = Data(rows.take(self.inputs, chosen), rows.take(self.targets, chosen))
        object.__setattr__(taken, "row_numbers", chosen if self.row_numbers is None else self.row_numbers[chosen])
        return taken


TaskData = Data | DataLoader[Any] | Stream
"""What a task has to train on or to test on."""


def is_data(part: Any) -> bool:
    """Whether a task can have it; a loader must have a length, or be in a ``Stream``."""
    if isinstance(part, DataLoader):
        try:
            len(part)
        except TypeError:
            raise OptionError(
                "A Task's DataLoader has no length, so an epoch has no end: give "
                "ravine.train.Stream(loader, steps_per_epoch=100)."
            ) from None
    return isinstance(part, Data | DataLoader | Stream)


def row_number(part: TaskData) -> int:
    """How many rows it has; of a stream about as many as an epoch takes."""
    if isinstance(part, Stream):
        return len(part) * (batch_size_of(part) or 1)
    return len(part) if isinstance(part, Data) else len(part.sampler)  # type: ignore[arg-type]


def batch_size_of(part: Any) -> int | None:
    """How many rows its batches have, where it is a loader and says so."""
    return getattr(part.data if isinstance(part, Stream) else part, "batch_size", None)


def take(part: TaskData, chosen: Tensor) -> TaskData:
    """The rows of these numbers (int64), in this order.

    Raises:
        OptionError: rows cannot be taken from it.
    """
    if isinstance(part, Data):
        return part.take(chosen)
    if isinstance(part, Stream) or not _is_plain(part):
        what = "a Stream" if isinstance(part, Stream) else "a DataLoader with a sampler of its own"
        raise OptionError(
            f"The Task's train is {what}, from which no rows can be held out to validate on: give the Task valid=, data to "
            "validate on."
        )
    return _rebuilt(part, Subset(part.dataset, chosen.tolist()), part.generator)


def to_train_on(part: TaskData, batch_size: int, seed: int, *, drop_last: bool) -> Any:
    """Its batches, shuffled by a seed."""
    if isinstance(part, Data):
        return _numbered(Batches(part.inputs, part.targets, batch_size, seed=seed, drop_last=drop_last), part)
    if isinstance(part, Stream):
        return Stream(part.data, part.steps_per_epoch)
    seeded = torch.Generator().manual_seed(seed)
    if _is_plain(part):
        return _rebuilt(part, part.dataset, seeded, drop_last=drop_last or part.drop_last)
    for generator in generators([part]):
        generator.manual_seed(seed)
    return part


def to_measure_on(part: TaskData, batch_size: int) -> Any:
    """All its rows in order, in large batches where they are in memory."""
    if isinstance(part, Data):
        numbers = sum(leaf.numel() for _, leaf in rows.leaves(part.inputs)) // max(len(part), 1)
        size = max(batch_size, min(_EVALUATION_ROWS, _EVALUATION_NUMBERS // max(numbers, 1)))
        return _numbered(Batches(part.inputs, part.targets, size, shuffle=False), part)
    if isinstance(part, Stream) or not _is_plain(part):
        return part
    return _rebuilt(part, part.dataset, part.generator, in_order=True)


def _numbered(batches: Batches, part: Data) -> Batches:
    batches.row_numbers = part.row_numbers
    return batches


def _is_plain(loader: DataLoader[Any]) -> bool:
    """Whether it can be made again for other rows: it has none but torch's own samplers."""
    samplers = (RandomSampler, SequentialSampler)
    batches = type(loader.batch_sampler)
    return type(loader) is DataLoader and type(loader.sampler) in samplers and batches in (BatchSampler, type(None))


def _rebuilt(
    loader: DataLoader[Any],
    dataset: Any,
    generator: torch.Generator | None,
    *,
    in_order: bool = False,
    drop_last: bool | None = None,
) -> DataLoader[Any]:
    """The same loader of other rows; ``in_order`` gives all of them as they stand."""
    before = loader.sampler
    sampler: Any = SequentialSampler(dataset)
    if isinstance(before, RandomSampler) and not in_order:
        all_of_them = dataset is not loader.dataset or before.num_samples == len(dataset)  # type: ignore[arg-type]
        sampler = RandomSampler(dataset, before.replacement, None if all_of_them else before.num_samples, generator)
    last = loader.drop_last if drop_last is None else drop_last
    return DataLoader(
        dataset,
        batch_size=loader.batch_size,
        sampler=sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=last and not in_order and loader.batch_size is not None,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )
