"""An object in each line: ``{"optimizer": "adam", "run": 1, "step": 100, "value": 3.2}``.

A value of ``null`` was not measured; a run that diverged has NaN, as Python writes it, or "nan". A line without the value's key is
left out: logs have lines about other things.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ravine.comparison._curves.column_names import find_all, missing
from ravine.comparison._curves.curves import CurveRows, Place
from ravine.comparison._curves.table_rows import take_row
from ravine.comparison._curves.text_file import TextFile
from ravine.errors import DataError, an


def read_json_lines(file: TextFile, columns: Mapping[str, str], rows: CurveRows) -> None:
    """Take the values of a file of JSON lines.

    Raises:
        DataError: a line is no object, or a member is missing or not what it should be; the text names line and key.
    """
    path = str(file.path)
    objects = [
        (place, _object(line, place))
        for number, line in enumerate(file.text().split("\n"), 1)
        if line.strip() and (place := Place(path, number))
    ]
    names = list(dict.fromkeys(key for _, tree in objects for key in tree))
    roles = find_all(names, columns, path, "key")
    if "value" not in columns:
        rows.metric(roles["value"])
    for place, tree in objects:
        if roles["value"] not in tree:
            continue
        for role in ("optimizer", "run", "step"):
            if role in roles and roles[role] not in tree:
                raise DataError(
                    f"{place} has {an(repr(roles['value']))} and no {roles[role]!r}: write the {role}, too."
                )
        if not take_row({role: tree[name] for role, name in roles.items()}, roles, place, rows):
            raise missing("step", names, path, "key", columns)


def _object(line: str, place: Place) -> dict[str, Any]:
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error}. Write one object in each line.") from error
    if not isinstance(tree, dict):
        raise DataError(f"{place} is {an(type(tree).__name__)}: write one object in each line.")
    return tree
