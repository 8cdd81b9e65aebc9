"""Whole numbers as people have them: Python's, and those of NumPy, which a count or a split gives."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


def whole(value: Any) -> int | None:
    """The value as a Python int if it is a whole number of Python or NumPy; a bool, a tensor or a float is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        return None
    return operator.index(value)
