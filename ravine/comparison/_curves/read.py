"""``read_curves``: finds out what each path is, and reads it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ravine.comparison._curves.column_names import columns_of, listed_names, with_columns
from ravine.comparison._curves.csv_file import read_csv
from ravine.comparison._curves.curves import CurveRows, Curves, Place
from ravine.comparison._curves.json_lines_file import read_json_lines
from ravine.comparison._curves.optuna_storage import read_optuna
from ravine.comparison._curves.run_names import check_groups
from ravine.comparison._curves.tensorboard_folder import flat_folders, has_events, read_tensorboard
from ravine.comparison._curves.text_file import TextFile
from ravine.comparison._study.location import JOURNAL
from ravine.errors import DataError, OptionError, for_both, shown

_OF_STUDY = ("results.csv", "results.json")
_HEAD = b"study,task,optimizer,kind,judged,"  # how such a results.csv begins
_SQLITE, _JOURNAL = b"SQLite format 3\0", b'{"op_code":'


def read_curves(
    paths: Sequence[str | Path], *, columns: Mapping[str, str] | str | None = None, tag: str | None = None
) -> Curves:
    """The curves in files, folders and storages, together.

    Args:
        paths: each a table (CSV with commas, semicolons or tabs), as written or as downloaded from a chart of Weights & Biases
            or a scalar of TensorBoard, a file of JSON lines, a folder with TensorBoard's event
            files, or an Optuna storage: the URL of a database, an SQLite file or a journal file. A table may also come from a
            pipe, ``"-"`` being standard input. What a file is, its content says, not its name.
        columns: what a column, a key or an attribute of Optuna's is, to its name, where that is none of the usual ones:
            ``{"optimizer": "method", "value": "val_loss"}``, or as text, ``"optimizer=method,value=val_loss"``.
        tag: the scalar of TensorBoard; None takes the only one, or the only one with a name like ``val_loss``.

    Returns:
        The curves in the order of the paths and of what is in them. A value of NaN or infinity ends a run as diverged;
        an empty cell or ``null`` was not measured.

    Raises:
        OptionError: an argument is impossible.
        DataError: a path cannot be read; the text names file, line and column, what was found and what to write.
        PackageError: TensorBoard is needed and not installed.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not paths:
        raise OptionError("There is nothing to read: name at least one file.")
    if not isinstance(tag, str | None):
        raise OptionError(f"tag = {shown(tag)}: write the name of a scalar of TensorBoard, tag='val_loss'.")
    names = columns_of(columns)
    rows = CurveRows()
    flat = flat_folders(Path(path) for path in paths if "://" not in str(path) and Path(path).is_dir())
    for path in paths:
        _read(path, names, tag, rows, flat)
    curves = rows.curves()
    if tag is not None and not rows.tagged:
        problem = f"The tag {tag!r} is for a scalar of TensorBoard, and {listed_names(map(str, paths))} has none: name the column,"
        raise with_columns(OptionError, problem, f"value={tag}")
    if not len(curves):
        raise DataError(f"There are no values in {', '.join(map(str, paths))}.")
    check_groups(curves.grouped)
    return curves


def _read(
    path: str | Path, columns: Mapping[str, str], tag: str | None, rows: CurveRows, flat: Collection[Path]
) -> None:
    if "://" in str(path):
        return read_optuna(str(path), columns, rows)
    file = Path(path)
    _refuse_study(file)
    if file.is_dir():
        if not has_events(file):
            raise DataError(f"The folder {file} has no event files of TensorBoard: name a file, or a folder with some.")
        return read_tensorboard(file, tag, rows, flat)
    if "tfevents" in file.name:
        raise DataError(f"{file} is an event file of TensorBoard: name its folder, {file.parent}.")
    text = TextFile(path)
    file, head = text.path, text.head
    if head.startswith((_SQLITE, _JOURNAL)):
        if text.piped:
            raise DataError(f"{file} has an Optuna storage, which cannot be read from a pipe: name its file.")
        return read_optuna(f"sqlite:///{file}" if head.startswith(_SQLITE) else str(file), columns, rows)
    if b"\0" in head:
        raise DataError(f"{file} is not text in UTF-8: write the curves as CSV or as JSON lines.")
    if not head.strip():
        raise DataError(
            f"{Place(str(file), 1)} is empty: write a table with the columns optimizer, run, step and value."
        )
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return read_json_lines(text, columns, rows)
    return read_csv(text, columns, tag, rows)


def _refuse_study(file: Path) -> None:
    """Refuse the folder of a study of Ravine's own, and the tables that it has written there: they are judged already.

    Raises:
        DataError: it is one; what shows it is named.
    """
    folder, study = file if file.is_dir() else file.parent, ""
    if (file.is_dir() or file.name in _OF_STUDY) and (folder / JOURNAL).is_file():
        study = str(folder)
    elif file.name == _OF_STUDY[0] and file.is_file():
        with file.open("rb") as table:
            if table.readline().startswith(_HEAD):
                study = table.readline().decode(errors="replace").partition(",")[0] or str(folder)
    if study:
        problem = f"{file} is of a study that Ravine has made, and which it judges itself:"
        raise for_both(
            DataError(f"{problem} ravine.comparison.load_study({study!r})."),
            f"{problem} ravine report {shlex.quote(study)}",
        )
