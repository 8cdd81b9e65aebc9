"""What stands in a cell or in a member of an object, as a number or a name."""

from __future__ import annotations

import math
import re
from typing import Any

from ravine.comparison._curves.curves import Place
from ravine.errors import DataError

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def step_of(cell: Any, place: Place, column: str) -> float:
    """A step.

    Raises:
        DataError: it is no finite number of at least 0.
    """
    number = _number(cell)
    if number is None or not math.isfinite(number) or number < 0:
        raise DataError(f"{place}, column {column!r}: found {_shown(cell)}; write the step as a number of at least 0.")
    return number


def value_of(cell: Any, place: Place, column: str) -> float | None:
    """A value; NaN or an infinity where the run diverged, None where nothing was measured: an empty cell, or ``null``.

    Raises:
        DataError: it is no number.
    """
    number = _number(cell)
    if number is not None:
        return number
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    comma = isinstance(cell, str) and _number(cell.replace(",", ".")) is not None
    wanted = (
        f"write {str(cell).strip().replace(',', '.')}"
        if comma
        else "write a number, nan where the run diverged, or nothing where it was not measured"
    )
    raise DataError(f"{place}, column {column!r}: found {_shown(cell)}; {wanted}.")


def name_of(cell: Any, place: Place, column: str, what: str) -> str:
    """The name of an optimizer or a run: text, or a number as it would be written.

    Raises:
        DataError: it is empty, or neither.
    """
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    text = str(cell).strip() if isinstance(cell, str | int | float) and not isinstance(cell, bool) else ""
    if not text:
        raise DataError(f"{place}, column {column!r}: found {_shown(cell)}; write the name of the {what}.")
    return text


def _number(cell: Any) -> float | None:
    """The number in a cell; None if there is none."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        try:
            return float(cell)
        except OverflowError:
            return math.inf if cell > 0 else -math.inf
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if _NUMBER.fullmatch(text):  # float() also takes 1_000 and other digits than ours
        return float(text)
    sign = -1.0 if text.startswith("-") else 1.0
    number = _NOT_FINITE.get(text.lstrip("+-").casefold())
    return None if number is None else sign * number


def _shown(cell: Any) -> str:
    if isinstance(cell, str) and not cell.strip():
        return "nothing"
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."
