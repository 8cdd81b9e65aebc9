"""Outputs and targets of all rows, kept for measures that cannot be added up batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine._compat import pytree
from ravine.train import _parallel as parallel
from ravine.train._forward import on_device, row_count

_MOST_NUMBERS = 2**26  # 256 MB of float32


class AllRows:
    """Collects batches, up to a limit of memory.

    Attributes:
        sample: some batches from the beginning, where there were too many to keep them all; else none.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Any, Any]] = []
        self._numbers = 0
        self.sample: list[tuple[Any, Any]] = []

    def add(self, outputs: Any, targets: Any) -> None:
        """Keep a batch, unless there are too many."""
        if self.sample:
            return
        self._numbers += sum(t.numel() for t in pytree.tree_leaves((outputs, targets)) if isinstance(t, Tensor))
        if self._numbers > _MOST_NUMBERS and self._parts:
            self.sample, self._parts = self._parts[:2], []
            return
        self._parts.append((outputs, targets))

    def together(self, rows: float, device: torch.device) -> tuple[Any, Any] | None:
        """Outputs and targets of all processes, if these are all ``rows``, and can be put one below the other."""
        parts = self._parts
        if parallel.size() > 1:
            moved = pytree.tree_map_only(Tensor, Tensor.cpu, parts)
            parts = [on_device(part, device) for mine in parallel.all_gather(moved) for part in mine]
        if sum(row_count(targets) for _, targets in parts) != rows:
            return None
        return stacked(parts)


def stacked(parts: Sequence[tuple[Any, Any]]) -> tuple[Any, Any] | None:
    """Batches as one: outputs and targets, one below the other; None where their shapes do not allow it."""
    outputs, targets = (below([part[i] for part in parts]) for i in (0, 1))
    return None if outputs is None or targets is None else (outputs, targets)


def below(trees: Sequence[Any]) -> Any:
    """Tensors, or tuples and dicts of them, one below the other; None where that cannot be."""
    if all(isinstance(tree, list | tuple) and all(isinstance(row, Mapping) for row in tree) for tree in trees):
        return [row for tree in trees for row in tree]  # something of its own for each row
    flat = [pytree.tree_flatten(tree) for tree in trees]
    if any(spec != flat[0][1] for _, spec in flat):
        return None
    columns = list(zip(*(leaves for leaves, _ in flat), strict=True))
    for column in columns:
        if not all(isinstance(t, Tensor) and t.ndim and t.shape[1:] == column[0].shape[1:] for t in column):
            return None
    return pytree.tree_unflatten([torch.cat(column) for column in columns], flat[0][1])
