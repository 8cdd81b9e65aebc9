"""Folders of TensorBoard's event files, named ``OPTIMIZER/RUN``. Needs the package ``tensorboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ravine.comparison._curves.column_names import find_role, listed_names
from ravine.comparison._curves.curves import CurveRows, Place
from ravine.errors import DataError, PackageError, advised, for_both, nearest

_EVENTS = "*tfevents*"


def has_events(folder: Path) -> bool:
    """Whether there are event files in a folder or below."""
    return any(path.is_file() for path in folder.rglob(_EVENTS))


def read_tensorboard(folder: Path, tag: str | None, rows: CurveRows) -> None:
    """Take the values of a tag, of all runs in a folder.

    The folder of a run is named ``OPTIMIZER/RUN``: ``folder`` may be what has the folders of several optimizers, that of
    one optimizer, or that of one run. Folders without any scalar, such as those of hyperparameters, are left out.

    Args:
        folder: where to look.
        tag: which scalar; None takes the only one with a name like ``val_loss``.
        rows: takes the values.

    Raises:
        PackageError: TensorBoard is not installed.
        DataError: an event file cannot be read, a run lacks the tag, or it is not clear which tag is meant.
    """
    scalars = {run: of_run for run in _run_folders(folder) if (of_run := _scalars(run))}
    tags = list(dict.fromkeys(name for of_run in scalars.values() for name in of_run))
    wanted = _tag(tag, tags, folder)
    if tag is None:
        rows.metric(wanted)
    for run, of_run in scalars.items():
        place = Place(str(run))
        if wanted not in of_run:
            problem = f"{run} has no scalar {wanted!r}; it has {listed_names(of_run)}."
            raise advised(DataError, problem, "Name one with --tag, or leave the folder out.")
        optimizer, name = _names(folder, run)
        rows.declare(optimizer, name, place)
        for step, value in of_run[wanted]:
            rows.add(optimizer, name, step, value, place)


def _run_folders(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob(_EVENTS) if path.is_file()})


def _names(folder: Path, run: Path) -> tuple[str, str]:
    """The optimizer and the run: the last two folders, and with more of them below ``folder`` all but the last."""
    parts = run.relative_to(folder).parts
    if len(parts) < 2:
        parts = run.resolve().parts[-2:]
    return "/".join(parts[:-1]), parts[-1]


def _tag(tag: str | None, tags: list[str], folder: Path) -> str:
    if not tags:
        raise DataError(f"The event files in {folder} have no scalars.")
    if tag is not None:
        if tag not in tags:
            raise DataError(f"No run in {folder} has a scalar {tag!r}. {nearest(tag, tags)}")
        return tag
    if len(tags) == 1:
        return tags[0]
    try:
        name = find_role("value", tags, {}, str(folder), "scalar")
    except DataError:
        name = None
    if name is None:
        problem = f"{folder} has the scalars {listed_names(tags)}:"
        raise for_both(
            DataError(f"{problem} say which is compared, tag='NAME'."), f"{problem} say which is compared, --tag NAME."
        )
    return name


def _scalars(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """The scalars in the event files of one folder: by tag, steps and values."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError as error:
        raise PackageError("Event files need TensorBoard: pip install tensorboard", name="tensorboard") from error
    events: Any = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})  # 0: all of them
    try:
        events.Reload()
        names = events.Tags()
        scalars = {tag: [(float(e.step), float(e.value)) for e in events.Scalars(tag)] for tag in names["scalars"]}
        for tag in names["tensors"]:  # as TensorFlow 2 writes scalars
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                scalars[tag] = [(float(e.step), float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
    except Exception as error:
        raise DataError(f"The event files in {folder} cannot be read: {type(error).__name__}: {error}.") from error
    return scalars
