"""What tensors a model's outputs hold, where they are more than one tensor, and how each is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ravine.errors import kind_of

_MOST_NAMES = 6


def tensors_in(outputs: Any) -> dict[str, Tensor]:
    """The tensors of a dict, a tuple or an object by how they are written: ``["logits"]``, ``[0]``, ``.loss``."""
    items: list[tuple[str, Any]]
    if isinstance(outputs, Mapping):
        items = [(f'["{key}"]' if isinstance(key, str) else f"[{key!r}]", value) for key, value in outputs.items()]
    elif isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        items = [(f".{name}", getattr(outputs, name)) for name in outputs._fields]
    elif isinstance(outputs, tuple | list):
        items = [(f"[{i}]", value) for i, value in enumerate(outputs)]
    else:
        items = [(f".{name}", value) for name, value in getattr(outputs, "__dict__", {}).items()]
    return {written: value for written, value in items if isinstance(value, Tensor)}


def logits_in(tensors: Mapping[str, Tensor]) -> str | None:
    """How the tensor is written that is called logits, if there is one."""
    return next((written for written in ('["logits"]', ".logits") if written in tensors), None)


def described(outputs: Any) -> str:
    """What outputs are, for an error: ``a dict of 2 (["logits"], ["hidden"])``."""
    names, kind = list(tensors_in(outputs)), kind_of(outputs)
    kind = f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"
    if not names:
        return kind
    return f"{kind} ({', '.join(names[:_MOST_NAMES])}{', ...' * (len(names) > _MOST_NAMES)})"
