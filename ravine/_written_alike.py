"""Whether two settings are the same however they are written: ``1e-3`` and ``0.001``, a tuple and a list, ``step:20`` and ``step: 20``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])(\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_OF_NUMPY = re.compile(r"\b(?:np|numpy)\.\w+\(([^()]*)\)")


def alike(a: Any, b: Any) -> bool:
    """Whether two values are the same: numbers by their value, tuples and lists by their items, texts by what they say."""
    if isinstance(a, str) and isinstance(b, str):
        return a == b or _normalized(a) == _normalized(b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(alike, a, b))
    try:
        return a is b or bool(a == b)
    except (TypeError, ValueError):  # arrays
        return False


def _normalized(text: str) -> str:
    """A text without what its writing adds: spaces, quotes' kind, how a number or a list is written."""
    text = _OF_NUMPY.sub(r"\1", text)
    text = _NUMBER.sub(lambda found: repr(float(found[0])), text)
    return re.sub(r"\s+", "", text).translate(str.maketrans('["]', "(')"))
