"""Rows of data in memory, in the forms that people have: a tensor, several of them, or a list of what differs in size.

A tensor has a row for each example; a tuple or dict has tensors with as many rows each (several inputs); a list has
something of its own for each row, such as pictures of unequal size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine._compat import pytree
from ravine.errors import OptionError, an, kind_of

#: What to do with targets that are texts, in a sentence after another.
NAMES_OF_CLASSES = " Number the classes: names, targets = numpy.unique(labels, return_inverse=True)."

Rows = Tensor | tuple[Any, ...] | dict[str, Any] | list[Any]


def from_numpy(array: Any, *, targets: bool = False) -> Tensor:
    """An array as a tensor of the kind that models compute with, in the array's memory where that can be.

    float64, which NumPy makes where nobody asks for it, becomes torch's default dtype; whole numbers become int64, which
    ``cross_entropy`` and ``Embedding`` take. Other floats, bool, complex numbers and inputs of uint8 (pixels) stay.

    Raises:
        OptionError: its values are no numbers.
    """
    array = np.asarray(array)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiubc":
        raise OptionError(
            f"An array of dtype {array.dtype} has no numbers that a model can take; convert it first."
            + NAMES_OF_CLASSES * (targets and array.size > 0 and isinstance(array.reshape(-1)[0], str))
        )
    if kind == "f" and size >= 8:
        wanted = torch.empty(0, dtype=torch.get_default_dtype()).numpy().dtype
    elif kind in "iu" and (targets or array.dtype != np.uint8):
        wanted = np.dtype(np.int64)
    else:
        wanted = array.dtype.newbyteorder("=")
    array = np.ascontiguousarray(array, dtype=wanted).reshape(array.shape)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def checked(inputs: Any, targets: Any) -> tuple[Rows, Rows, int]:
    """Inputs and targets as rows, and how many there are.

    Raises:
        OptionError: one of them cannot be rows, there are none, or they have different numbers of rows.
    """
    possible = [_possible(name, value) for name, value in (("inputs", inputs), ("targets", targets))]
    common = possible[0] & possible[1]
    if not common:
        here, there = (max(numbers) for numbers in possible)
        raise OptionError(f"There are {here} rows of inputs, but {there} of targets.")
    number = max(common)
    if not number:
        raise OptionError("There are no rows to make batches of.")
    return _as_rows(inputs, number), _as_rows(targets, number, targets=True), number


def inputs_alone(inputs: Any) -> tuple[Rows, int]:
    """Inputs without targets as rows, and how many there are.

    Raises:
        OptionError: they cannot be rows.
    """
    number = max(_possible("inputs", inputs))
    return _as_rows(inputs, number), number


def take(rows: Rows, chosen: Tensor) -> Any:
    """The rows of these numbers (int64), in this order, as copies."""
    if isinstance(rows, Tensor):
        return rows.index_select(0, chosen.to(rows.device))
    if isinstance(rows, list):
        return [_copied(rows[i]) for i in chosen.tolist()]
    if isinstance(rows, dict):
        return {name: take(part, chosen) for name, part in rows.items()}
    return tuple(take(part, chosen) for part in rows)


def cut(rows: Rows, first: int, last: int, step: int = 1) -> Any:
    """Rows ``first``, ``first + step``, ... below ``last``, as copies."""
    if isinstance(rows, Tensor):
        return rows[first:last:step].clone()
    if isinstance(rows, list):
        return [_copied(row) for row in rows[first:last:step]]
    if isinstance(rows, dict):
        return {name: cut(part, first, last, step) for name, part in rows.items()}
    return tuple(cut(part, first, last, step) for part in rows)


def count(rows: Rows) -> int:
    """How many rows there are."""
    if isinstance(rows, Tensor | list):
        return len(rows)
    return count(next(iter(rows.values() if isinstance(rows, dict) else rows)))


def to(rows: Rows, device: torch.device | str) -> Rows:
    """The same rows on that device."""
    moved: Rows = pytree.tree_map_only(Tensor, lambda t: t.to(device), rows)
    return moved


def leaves(rows: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in it, with a name that tells which: ``""``, ``"[1]"``, ``"['mask']"``."""
    for path, leaf in pytree.tree_leaves_with_path(rows):
        if isinstance(leaf, Tensor):
            yield pytree.keystr(path), leaf


def text(rows: Rows) -> str:
    """Shapes and dtypes in a few words."""
    if isinstance(rows, Tensor):
        return f"{tuple(rows.shape)} {str(rows.dtype).removeprefix('torch.')}"
    if isinstance(rows, list):
        return f"list of {len(rows)}"
    if isinstance(rows, dict):
        return "{" + ", ".join(f"{name}: {text(part)}" for name, part in rows.items()) + "}"
    return "[" + ", ".join(text(part) for part in rows) + "]"


def _copied(row: Any) -> Any:
    return pytree.tree_map_only(Tensor, Tensor.clone, row)


def _is_array(value: Any) -> bool:
    return not isinstance(value, Tensor) and hasattr(value, "__array__") and hasattr(value, "shape")


def _possible(name: str, value: Any) -> set[int]:
    """How many rows it may have: a list of tensors is several inputs, or a tensor for each row.

    Raises:
        OptionError: it cannot be rows.
    """
    if isinstance(value, Tensor) or _is_array(value):
        if not len(value.shape):
            raise OptionError(f"The {name} are one number; give {name} with a row for each example.")
        return {len(value)}
    if isinstance(value, Mapping | tuple) and len(value):
        parts = list(value.values() if isinstance(value, Mapping) else value)
        common = set.intersection(*(_possible(name, part) for part in parts))
        if not common:
            numbers = ", ".join(str(max(_possible(name, part))) for part in parts)
            raise OptionError(f"The {name} are {an(kind_of(value))} with different numbers of rows: {numbers}.")
        return common
    if isinstance(value, list) and value:
        rows = all(isinstance(row, Tensor | Mapping | tuple) or _is_array(row) for row in value)
        parts = [v for v in value if (isinstance(v, Tensor) or _is_array(v)) and len(v.shape)]
        if rows:
            lengths = {len(part) for part in parts}
            return {len(value)} | (lengths if len(parts) == len(value) and len(lengths) == 1 else set())
    if name == "targets" and isinstance(value, list) and value and isinstance(value[0], str):
        raise OptionError(f"The targets are {an(kind_of(value))} with texts.{NAMES_OF_CLASSES}")
    raise OptionError(
        f"The {name} are {an(kind_of(value))}; Batches and Data take tensors or NumPy arrays with a row for each example, a "
        "tuple or dict of them for a model of several inputs, or a list with a tensor for each row. Convert a list of "
        "numbers by torch.as_tensor."
    )


def _as_rows(value: Any, number: int, *, targets: bool = False) -> Any:
    if isinstance(value, Tensor):
        return value
    if _is_array(value):
        return from_numpy(value, targets=targets)
    if isinstance(value, Mapping):
        return {name: _as_rows(part, number, targets=targets) for name, part in value.items()}
    if isinstance(value, list):
        parts = [v for v in value if (isinstance(v, Tensor) or _is_array(v)) and len(v.shape)]
        several = len(parts) == len(value) and {len(part) for part in parts} == {number}
        if not several:
            return [_row(row, targets) for row in value]
    return tuple(_as_rows(part, number, targets=targets) for part in value)


def _row(row: Any, targets: bool) -> Any:
    return pytree.tree_map(lambda leaf: from_numpy(leaf, targets=targets) if _is_array(leaf) else leaf, row)
