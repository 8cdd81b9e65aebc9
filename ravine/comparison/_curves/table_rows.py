"""One row of a table that has a row for each value, whether a line of CSV or an object of JSON lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.comparison._curves.cell_values import name_of, step_of, value_of
from ravine.comparison._curves.curves import CurveRows, Place


def take_row(cells: Mapping[str, Any], columns: Mapping[str, str], place: Place, rows: CurveRows) -> bool:
    """Take the value of a row; False where it is its run's second and the table has no steps.

    Args:
        cells: what stands there, by role; without ``step`` a run has one value.
        columns: the name of each, by role.
        place: where the row is.
        rows: takes the value, or that there is none.

    Raises:
        DataError: a cell is not what it should be, or the run has a value at this step already.
    """
    optimizer, run = (name_of(cells[role], place, columns[role], role) for role in ("optimizer", "run"))
    step = step_of(cells["step"], place, columns["step"]) if "step" in columns else 0.0
    value = value_of(cells["value"], place, columns["value"])
    if value is None:
        rows.blank(optimizer, run, step, place)
        return True
    if "step" not in columns and rows.has_value(optimizer, run):
        return False
    rows.add(optimizer, run, step, value, place)
    return True
