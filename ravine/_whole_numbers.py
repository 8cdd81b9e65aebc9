"""Whole numbers as people have them: Python's, and those of NumPy, which a count or a split gives; and how they are written."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


def whole(value: Any) -> int | None:
    """The value as a Python int if it is a whole number of Python or NumPy; a bool, a tensor or a float is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        return None
    return operator.index(value)


def count(n: int, what: str, plural: str = "") -> str:
    """``1 seed``, ``12 seeds``, ``1,200 seeds``; ``plural`` where that is not the word with an s, as of a batch."""
    return f"{n:,} {what if n == 1 else plural or f'{what}s'}"
