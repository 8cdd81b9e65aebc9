"""Folders of TensorBoard's event files, named ``OPTIMIZER/RUN`` or ``OPTIMIZER-RUN``. Needs the package ``tensorboard``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ravine.comparison._curves.column_names import find_role, listed_names
from ravine.comparison._curves.curves import CurveRows, Place
from ravine.comparison._curves.run_names import split_if_named, split_name
from ravine.errors import DataError, PackageError, advised, for_both, nearest

_EVENTS = "*tfevents*"


def has_events(folder: Path) -> bool:
    """Whether there are event files in a folder or below."""
    return any(path.is_file() for path in folder.rglob(_EVENTS))


def flat_folders(folders: Iterable[Path]) -> set[Path]:
    """Those that have runs of several optimizers side by side, ``adam-1`` and ``sgd-1``: their names say the optimizer.

    One optimizer alone is none of these: in ``adam`` with ``seed-1`` and ``seed-2`` the folder is the optimizer, and so it is where
    no name stands for two runs, as eager-sun-5 and brave-fog-6.

    Args:
        folders: all that are read; they may also be the folders of single runs.
    """
    names: dict[Path, set[str]] = {}
    for folder in folders:
        for run in map(Path.resolve, _runs_at_top(folder)):
            names.setdefault(run.parent, set()).add(run.name)
    return {folder for folder, found in names.items() if _several_optimizers(found)}


def _several_optimizers(names: Collection[str]) -> bool:
    split = [split_if_named(name) for name in names]
    runs = Counter(found[0] for found in split if found is not None)
    return None not in split and len(runs) > 1 and max(runs.values()) > 1


def read_tensorboard(folder: Path, tag: str | None, rows: CurveRows, flat: Collection[Path] = ()) -> None:
    """Take the values of a tag, of all runs in a folder.

    The folder of a run is named ``OPTIMIZER/RUN``: ``folder`` may be what has the folders of several optimizers, that of
    one optimizer, or that of one run. Folders without any scalar, such as those of hyperparameters, are left out.

    Args:
        folder: where to look.
        flat: the folders in which a run is named ``OPTIMIZER-RUN``.
        tag: which scalar; None takes the only one with a name like ``val_loss``.
        rows: takes the values.

    Raises:
        PackageError: TensorBoard is not installed.
        DataError: an event file cannot be read, a run lacks the tag, or it is not clear which tag is meant.
    """
    scalars = {run: of_run for run in _run_folders(folder) if (of_run := _scalars(run))}
    tags = list(dict.fromkeys(name for of_run in scalars.values() for name in of_run))
    wanted = _tag(tag, tags, folder)
    rows.tagged = True
    if tag is None:
        rows.metric(wanted)
    at_top = _runs_at_top(folder)
    for run, of_run in scalars.items():
        place = Place(str(run))
        if wanted not in of_run:
            problem = f"{run} has no scalar {wanted!r}; it has {listed_names(of_run)}."
            raise advised(DataError, problem, "Name one with --tag, or leave the folder out.")
        if run in at_top and run.resolve().parent in flat:
            optimizer, name = rows.named(*split_name(run.resolve().name, place), place)
        else:
            optimizer, name = _names(folder, run)
            rows.declare(optimizer, name, place)
        for step, value in of_run[wanted]:
            rows.add(optimizer, name, step, value, place)


def _run_folders(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob(_EVENTS) if path.is_file()})


def _runs_at_top(folder: Path) -> list[Path]:
    """The folders of runs that are a folder or directly in it."""
    return [run for run in _run_folders(folder) if len(run.relative_to(folder).parts) < 2]


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
