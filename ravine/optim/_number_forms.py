"""Numbers in a form that is not theirs, such as text or a fraction, and how each is written."""

from __future__ import annotations

import ast
import math
import numbers
import sys
from decimal import Decimal
from typing import Any

#: A value that could be meant, and how it is written.
Meant = tuple[Any, str]


def meant_by(value: object) -> Meant | None:
    """The value that is meant, and how it is written; None where none can be told."""
    if isinstance(value, str):
        text = value.strip()
        if text == "inf":
            return math.inf, "math.inf"
        try:
            meant = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
        return meant, text if isinstance(meant, int | float) else repr(meant)
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return None  # Python writes no whole number of many thousand digits
    if isinstance(value, int | float) or value is None:
        return value, repr(value)
    if isinstance(value, Decimal | numbers.Rational):
        return float(value), repr(float(value))
    if isinstance(value, tuple | list):
        parts = [meant_by(each) for each in value]
        if not parts or None in parts:
            return None
        known = [part for part in parts if part is not None]
        if len(known) == 1:
            return known[0]
        return tuple(part for part, _ in known), f"({', '.join(text for _, text in known)})"
    return None


def form_of(value: object) -> str:
    """What is said of the form, before what is to be written."""
    parts = value if isinstance(value, tuple | list) else [value]
    return "Take the quotes away" if any(isinstance(part, str) for part in parts) else "Write"
