"""Torch's operations as a run calls them: which tensors they read and write, and where a tensor's memory is."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ravine._compat import pytree
from ravine._compat.torch import schema_of, sparse_values, storage_identity
from ravine.diagnose._nonfinite.value_range import numbers, tensors

_OVERWRITES = {"copy_", "fill_", "zero_"}
"""Operations in place that do not read the old values, such as those of torch.empty."""


def storage(tensor: Tensor) -> int:
    """A number that identifies its memory as long as it lives."""
    values = sparse_values(tensor) if tensor.layout is torch.sparse_coo else tensor
    if values.layout is not torch.strided or numbers(values) is None:
        return id(tensor)
    return storage_identity(values)


def name_of(func: Any) -> str:
    """Its name, without the kinds of its arguments."""
    name: str = getattr(func, "overloadpacket", func).__name__
    return name


def arguments(func: Any) -> list[Any]:
    """The declarations of its arguments; none for higher-order operations, which take functions."""
    schema = schema_of(func)
    return [] if schema is None else list(schema.arguments)


def read(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation reads."""
    outs = [a.name for a in arguments(func) if a.is_out]
    if name_of(func) in _OVERWRITES:
        args = args[1:]
    return tensors((args, {name: value for name, value in kwargs.items() if name not in outs}))


def written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that it writes to."""
    targets = []
    for i, argument in enumerate(arguments(func)):
        if argument.alias_info is not None and argument.alias_info.is_write:
            targets.append(args[i] if i < len(args) else kwargs.get(argument.name))
    return tensors(targets)


def is_view(func: Any) -> bool:
    """Whether its result may share the memory of an argument."""
    return not arguments(func) or any(r.alias_info is not None for r in schema_of(func).returns)


def infinite_constant(args: Any, kwargs: Any) -> bool:
    """Whether an argument is a Python number that is not finite, as in ``masked_fill(mask, -inf)``."""
    return any(isinstance(leaf, float) and not math.isfinite(leaf) for leaf in pytree.tree_leaves((args, kwargs)))
