"""Studies of Optuna: each trial is a run.

A user attribute or a parameter of the trial names the optimizer (``optimizer``, ``method``, ...), or else the study does;
another names the run (``run``, ``seed``, ...), or else the trial's number does. The curve is its intermediate values, or,
where none was reported, its final value, at step 1. A trial that failed diverged: Optuna lets trials fail that return NaN.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ravine._compat.optuna import study_id
from ravine.comparison._curves.cell_values import name_of
from ravine.comparison._curves.column_names import find_role
from ravine.comparison._curves.curves import CurveRows, Place
from ravine.comparison._study.storage_errors import check_storage, storage_errors, without_password
from ravine.comparison._study.study_journal import StudyJournal
from ravine.errors import DataError

_SQLITE = "sqlite:///"
_OURS = "ravine spec"
_LOCK = 10  # seconds


def read_optuna(where: str, columns: Mapping[str, str], rows: CurveRows) -> None:
    """Take the trials of all studies of a storage.

    Args:
        where: a URL, or the path of a journal file.
        columns: the names of attributes or parameters, by what they are.
        rows: takes the values.

    Raises:
        DataError: the storage cannot be read, has no studies, or a trial cannot be used.
    """
    check_storage(where)
    if where.startswith(_SQLITE):
        _check_sqlite(Path(where.removeprefix(_SQLITE)))
    shown = without_password(where)
    studies = _studies(where)
    if not studies:
        raise DataError(f"{shown} has no studies.")
    for name, attributes, trials in studies:
        if _OURS in attributes:
            raise DataError(
                f"The study {name!r} in {shown} was made by ravine compare: ravine report {name} judges it."
            )
        for trial in trials:
            _take(trial, name, Place(f"{shown}, study {name!r}, trial {trial.number}"), columns, rows)


def _studies(where: str) -> list[tuple[str, Mapping[str, Any], list[Any]]]:
    """Of each study its name, its user attributes and its trials."""
    import optuna

    journal: StudyJournal | None = None
    with storage_errors(where, lambda: journal):
        try:
            if "://" in where:
                storage: Any = optuna.storages.RDBStorage(where.replace("postgresql://", "postgresql+psycopg://", 1))
            else:
                journal = StudyJournal(where, _LOCK)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # experimental, Optuna says
                    storage = optuna.storages.JournalStorage(journal)
        except DataError:
            raise
        except RuntimeError as error:  # tables of another version of Optuna
            raise DataError(f"The storage {without_password(where)} cannot be read: {error}") from error
        try:
            return [
                (s.study_name, s.user_attrs, storage.get_all_trials(study_id(s))) for s in storage.get_all_studies()
            ]
        finally:
            storage.remove_session()
            if (engine := getattr(storage, "engine", None)) is not None:
                engine.dispose()


def _check_sqlite(file: Path) -> None:
    """Refuse a file that is not there or is another program's: Optuna would make its tables in it.

    Raises:
        DataError: it is.
    """
    if not file.is_file():
        raise DataError(f"There is no file {file}.")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.Error as error:
        raise DataError(f"{file} cannot be read as an SQLite file: {error}.") from error
    if "studies" not in tables:
        raise DataError(f"{file} is an SQLite file, and not one of Optuna's: it has no table of studies.")


def _take(trial: Any, study: str, place: Place, columns: Mapping[str, str], rows: CurveRows) -> None:
    """Take one trial, if it has ended."""
    state, values = trial.state.name, dict(trial.intermediate_values)
    if state in ("RUNNING", "WAITING") or (state == "PRUNED" and not values):
        return
    if state == "PRUNED":
        raise DataError(
            f"{place} was pruned, so how it would have ended is not known: leave it out, or run it to its end."
        )
    optimizer = _name("optimizer", trial, columns, place) or study
    run = _name("run", trial, columns, place)
    if not run:
        rows.number(optimizer)
        run = str(trial.number)
    rows.declare(optimizer, run, place)
    if state == "COMPLETE" and not values:
        if len(trial.values) != 1:
            raise DataError(f"{place} has {len(trial.values)} objectives: only studies with one can be read.")
        values = {1: trial.values[0]}
    for step, value in values.items():
        rows.add(optimizer, run, float(step), float(value), place)
    if state == "FAIL" and all(map(math.isfinite, values.values())):
        rows.add(optimizer, run, max(values, default=0) + 1.0, math.nan, place)


def _name(role: str, trial: Any, columns: Mapping[str, str], place: Place) -> str:
    """What the trial's attributes, or else its parameters, say of the role; empty if nothing does."""
    for source, what in ((trial.user_attrs, "user attribute"), (trial.params, "parameter")):
        if role in columns and columns[role] not in source:
            continue
        name = find_role(role, list(source), columns, str(place), what)
        if name is not None:
            return name_of(source[name], place, name, role)
    if role in columns:
        raise DataError(f"{place} has neither a user attribute nor a parameter {columns[role]!r} for the {role}.")
    return ""
