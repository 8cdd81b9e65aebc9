"""Tables with a line for each value: ``optimizer,run,step,value``; with commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

from ravine.comparison._curves.column_names import find_all, missing
from ravine.comparison._curves.curves import CurveRows, Place
from ravine.comparison._curves.exported_csv import of_tensorboard, of_wandb, read_tensorboard_csv, read_wandb
from ravine.comparison._curves.table_rows import take_row
from ravine.comparison._curves.text_file import TextFile
from ravine.errors import DataError


def read_csv(file: TextFile, columns: Mapping[str, str], tag: str | None, rows: CurveRows) -> None:
    """Take the values of a table; ``tag`` is the scalar, where it was downloaded from TensorBoard.

    Raises:
        DataError: a column is missing, or a cell is not what it should be; the text names the line and the column.
    """
    lines = _lines(file)
    place, heads = top, _ = next(lines, (Place(str(file.path), 1), []))
    if not heads:
        raise DataError(f"{place} is empty: write the names of the columns there, such as optimizer,run,step,value.")
    heads = [head.strip() for head in heads]
    if of_wandb(heads):
        return read_wandb(place, heads, lines, columns, rows)
    if of_tensorboard(heads) and "optimizer" not in columns:
        return read_tensorboard_csv(file.path, heads, lines, tag, rows)
    roles = find_all(heads, columns, str(place))
    if "value" not in columns:
        rows.metric(roles["value"])
    for role, name in roles.items():
        if heads.count(name) > 1:
            raise DataError(
                f"{place}: there are {heads.count(name)} columns {name!r}, so which is the {role}? Rename one."
            )
    at = {role: heads.index(name) for role, name in roles.items()}
    for place, cells in lines:
        if len(cells) != len(heads):
            raise DataError(
                f"{place} has {len(cells)} cells, and the first line has {len(heads)}: write a cell for each column, and "
                "put quotes around text with a separator in it."
            )
        if not take_row({role: cells[i] for role, i in at.items()}, roles, place, rows):
            raise missing("step", heads, str(top), columns=columns)


def _lines(file: TextFile) -> Iterator[tuple[Place, list[str]]]:
    """The lines that are not blank, as cells, with their numbers."""
    text, path = file.text(), str(file.path)
    head = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=head.count)  # of equally many the first
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        before = reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{Place(path, before + 1)} is not a line of a table: {error}.") from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield Place(path, before + 1), cells
