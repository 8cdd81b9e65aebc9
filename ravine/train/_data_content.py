"""The content of data: whether two are the same, and which rows of it are no numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from ravine import _randomness as randomness
from ravine.train import _rows as rows
from ravine.train._batches import Batches

#: What to do where data are others than they were.
NOT_THE_SAME = (
    "If they are drawn or split at random, give a seed: torch.manual_seed(0), numpy.random.default_rng(0), "
    "train_test_split(..., random_state=0). If they were replaced, bring them back, or start a new run."
)

_PROBED = 8  # rows of a dataset that is not in memory
_MOST_NAMES = 4


def fingerprint(*data: Any) -> str:
    """A short name of the content: other rows, or another order of them, have another. Empty where nothing is known of it.

    All numbers count where they are in memory. Of a dataset that reads or draws its rows a few are looked at, unless they
    are others each time, with the same random states.
    """
    digest, known = hashlib.blake2b(digest_size=8), False
    for one in data:
        digest.update(b"|")
        for name, tensor in _tensors(one):
            known = True
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            _add(digest, tensor)
    return f"blake2b:{digest.hexdigest()}" if known else ""


def nonfinite(data: Any) -> str:
    """Which rows have NaN or infinity, such as ``inputs of row 7 (1 of 240 rows)``; empty if none has, or it is not in memory.

    Rows that were held out of other data, or are in a ``Subset`` of it, are named by their numbers there.
    """
    parts, named = [], _row_numbers(data)
    for name, tensor in _tensors(data, probe=False):
        if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
            continue
        bad = (
            (~torch.isfinite(tensor)).reshape(len(tensor), -1).any(1) if tensor.ndim else ~torch.isfinite(tensor)[None]
        )
        if bad.any():
            places = bad.nonzero().flatten()
            numbers = (places if named is None else named[places.cpu()].sort().values).tolist()
            shown = ", ".join(map(str, numbers[:_MOST_NAMES])) + ", ..." * (len(numbers) > _MOST_NAMES)
            plural = "s" * (len(numbers) > 1)
            parts.append(f"{name} of row{plural} {shown} ({len(numbers)} of {len(bad)} rows)")
    more = f" and {len(parts) - _MOST_NAMES} more" if len(parts) > _MOST_NAMES else ""
    return " and ".join(parts[:_MOST_NAMES]) + more


def _row_numbers(data: Any) -> Tensor | None:
    """Of rows that are a part of other data, their numbers there; None of rows that are all there are."""
    if isinstance(data, DataLoader):
        return _all_of_subsets(data.dataset)[1]
    numbers = getattr(data, "row_numbers", None)
    return numbers if isinstance(numbers, Tensor) else None


def nonfinite_rows(data: Any) -> list[int]:
    """The numbers of the rows that have NaN or infinity."""
    numbers: set[int] = set()
    for _, tensor in _tensors(data, probe=False):
        if tensor.ndim and tensor.numel():
            numbers |= set((~torch.isfinite(tensor)).reshape(len(tensor), -1).any(1).nonzero().flatten().tolist())
    return sorted(numbers)


def nonfinite_in_batch(inputs: Any, targets: Any, data: Any) -> str:
    """What of a batch has NaN or infinity, such as ``inputs, row 3 (1 of 64 rows)``; empty if nothing has.

    Where the data that it is of are in memory, their rows are named, too: a shuffled batch has other numbers.
    """
    places = nonfinite((inputs, targets)).replace(" of row ", ", row ").replace(" of rows ", ", rows ")
    everywhere = nonfinite(data) if places and type(data) is not list else ""
    return f"{places}; in all training data the {everywhere}" if everywhere else places


def _tensors(data: Any, *, probe: bool = True) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the data that are in memory, by name."""
    if isinstance(data, Batches) or (hasattr(data, "inputs") and hasattr(data, "targets")):
        data = (data.inputs, data.targets)
    if isinstance(data, DataLoader):
        yield from _of_dataset(data.dataset, probe=probe)
    elif isinstance(data, tuple) and len(data) == 2:
        for name, part in zip(("inputs", "targets"), data, strict=True):
            for where, leaf in rows.leaves(part):
                yield f"{name}{where}", leaf
    elif type(data) is list:  # one of a class of its own may do anything where it is iterated over
        for number, batch in enumerate(data):
            if isinstance(batch, tuple | list) and len(batch) == 2:
                for name, leaf in _tensors(tuple(batch)):
                    yield f"{name} of batch {number}", leaf


def _of_dataset(dataset: Any, *, probe: bool) -> Iterator[tuple[str, Tensor]]:
    dataset, chosen = _all_of_subsets(dataset)
    if isinstance(dataset, TensorDataset):
        names = (
            ["inputs", "targets"] if len(dataset.tensors) == 2 else [f"tensor {i}" for i in range(len(dataset.tensors))]
        )
        for name, tensor in zip(names, dataset.tensors, strict=True):
            yield name, tensor if chosen is None else tensor[chosen]
        return
    if not probe or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__") or not len(dataset):
        return
    number = len(dataset) if chosen is None else len(chosen)
    yield "rows", torch.tensor(number)
    places = np.unique(np.linspace(0, number - 1, _PROBED).astype(int)).tolist()
    first, again = (_probed(dataset, [p if chosen is None else int(chosen[p]) for p in places]) for _ in range(2))
    if len(first) == len(again) and all(torch.equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True)):
        yield from first


def _all_of_subsets(dataset: Any) -> tuple[Any, Tensor | None]:
    """What a dataset is a subset of, and which rows of it; the dataset itself and None if it is no subset."""
    chosen = None
    while isinstance(dataset, Subset):
        here = torch.as_tensor(np.asarray(dataset.indices))
        chosen = here if chosen is None else here[chosen]
        dataset = dataset.dataset
    return dataset, chosen


def _probed(dataset: Any, places: list[int]) -> list[tuple[str, Tensor]]:
    """Some rows of a dataset, drawn with random states that are the same each time."""
    try:
        with randomness.isolated():
            randomness.seed(0)
            return [(f"row {p}{name}", leaf.clone()) for p in places for name, leaf in rows.leaves(dataset[p])]
    except Exception:  # it is raised again where the data is used
        return []


def _add(digest: Any, tensor: Tensor) -> None:
    plain = tensor.detach().cpu().contiguous()
    if plain.is_sparse or plain.is_quantized:
        plain = plain.to_dense() if plain.is_sparse else plain.dequantize()
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
