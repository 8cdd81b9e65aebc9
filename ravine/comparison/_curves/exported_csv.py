"""Tables as pages of other programs download them, which have no column for the optimizer.

Weights & Biases: a column with the step, and for each run one ``RUN - METRIC``, beside the least and the largest of the values
that it stands for, ``RUN - METRIC__MIN`` and ``RUN - METRIC__MAX``. TensorBoard: ``Wall time,Step,Value``, a file for each run,
called ``run-RUN-tag-TAG.csv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ravine.comparison._curves.cell_values import step_of, value_of
from ravine.comparison._curves.column_names import find_role, listed_names, with_columns
from ravine.comparison._curves.curves import CurveRows, Place
from ravine.comparison._curves.run_names import split_name
from ravine.errors import DataError

_BETWEEN = " - "
_ENDS = ("__MIN", "__MAX")
_DOWNLOADED = re.compile(r"(?:run-)?(.+?)(?:-tag-(.+))?")

Lines = Iterable[tuple[Place, Sequence[str]]]


def of_wandb(heads: Sequence[str]) -> bool:
    """Whether these are the columns of a chart of Weights & Biases."""
    return len(heads) > 1 and _BETWEEN not in heads[0] and all(_BETWEEN in head for head in heads[1:])


def of_tensorboard(heads: Sequence[str]) -> bool:
    """Whether these are the columns of a scalar of TensorBoard."""
    return [head.casefold() for head in heads] == ["wall time", "step", "value"]


def read_wandb(top: Place, heads: Sequence[str], lines: Lines, columns: Mapping[str, str], rows: CurveRows) -> None:
    """Take the values of one metric of all runs; a cell without one is a step at which the run logged nothing.

    Raises:
        DataError: it is not clear which metric is meant, or what the optimizer of a run is; a cell is not what it should be.
    """
    names = {i: head.rpartition(_BETWEEN) for i, head in enumerate(heads) if i and not head.endswith(_ENDS)}
    metrics = list(dict.fromkeys(metric for _, _, metric in names.values() if not metric.startswith("_")))
    wanted = _metric(metrics, columns, top)
    rows.metric(wanted)
    at = {i: run for i, (run, _, metric) in names.items() if metric == wanted}
    runs = list(at.values())
    if twice := next((run for run in runs if runs.count(run) > 1), None):
        raise DataError(
            f"{top}: two runs have the name {twice!r}: give them different ones, such as adam-1 and adam-2."
        )
    curves = {i: rows.named(*split_name(run, top), top) for i, run in at.items()}
    for place, cells in lines:
        for i, (optimizer, run) in curves.items():
            # a cell without a value says nothing: there is one wherever another run has logged a step
            if i < len(cells) and (value := value_of(cells[i], place, heads[i])) is not None:
                rows.add(optimizer, run, step_of(cells[0], place, heads[0]), value, place)


def read_tensorboard_csv(path: Path, heads: Sequence[str], lines: Lines, tag: str | None, rows: CurveRows) -> None:
    """Take the values of one run, whose name is the file's.

    Raises:
        DataError: the file is of another scalar than ``tag``, its name says no optimizer, or a cell is not what it should be.
    """
    run, of_file = _DOWNLOADED.fullmatch(path.stem).groups()  # type: ignore[union-attr]
    if tag is not None and of_file is not None and _plain(tag) != _plain(of_file):
        raise DataError(f"{path} has the scalar {of_file!r}, and not {tag!r}: leave it out.")
    rows.tagged = True
    if of_file is not None:
        rows.metric(of_file)
    place = Place(str(path))
    optimizer, number = rows.named(*split_name(run, place), place)
    for place, cells in lines:
        if len(cells) != len(heads):
            raise DataError(f"{place} has {len(cells)} cells, and the first line has {len(heads)}.")
        step, value = step_of(cells[1], place, heads[1]), value_of(cells[2], place, heads[2])
        if value is None:
            rows.blank(optimizer, number, step, place)
        else:
            rows.add(optimizer, number, step, value, place)


def _metric(metrics: Sequence[str], columns: Mapping[str, str], top: Place) -> str:
    if not metrics:
        raise DataError(f"{top} has no column of a metric, such as 'adam-1 - val_loss'.")
    if len(metrics) == 1 and "value" not in columns:
        return metrics[0]
    name = find_role("value", metrics, columns, str(top), "metric")
    if name is None:
        problem = f"{top} has the metrics {listed_names(metrics)}: say which is compared, as in"
        raise with_columns(DataError, problem, f"value={metrics[0]}")
    return name


def _plain(tag: str) -> str:
    """A tag as it stands in the name of a file, where a slash cannot."""
    return re.sub(r"\W", "_", tag)
