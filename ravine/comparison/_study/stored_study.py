"""A study as its storage has it: read without the task, its data or the machine that trains."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine.comparison._study.code_versions import installed, load_optimizers
from ravine.comparison._study.location import JOURNAL, OUT, Location, default_folder
from ravine.comparison._study.step_seconds import StepSeconds
from ravine.comparison._study.storage_errors import check_storage, without_password
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_record import StudyOrigin, StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.errors import DataError, OptionError, RavineError, advised, for_both, nearest
from ravine.optim._spec import OptimizerSpec

#: What a storage keeps of a study beside its trials: seconds of a step with their machine, and the command.
SECONDS, COMMAND = "seconds", "command"
#: And that the task's loss broadcasts outputs against targets, in a sentence.
BROADCAST = "broadcast"
#: What the first of several tasks' studies keeps: the name of the study of all with its tasks, and the command that resumes
#: them all.
TASKS, TASKS_COMMAND = "all tasks", "command of all tasks"


def seconds_of(stored: Mapping[str, Any]) -> tuple[dict[str, StepSeconds], str]:
    """Seconds of a step by optimizer, and the machine, from what is kept under ``SECONDS``."""
    return {label: StepSeconds(*pair) for label, pair in stored["steps"].items()}, stored["machine"]


def stored_location(study: str, storage: str | None, out: Path | None) -> Location:
    """Where a study is, by the rules of ``choose_location``; nothing is made.

    Without a storage it is the journal in the folder of the report, or, if that has none, in the study's own folder: so a
    report can be drawn anew in another folder.

    Args:
        study: its name, or its folder, which may be called otherwise.
        storage: where it is kept; None for a journal.
        out: the folder of the report.

    Raises:
        OptionError: the storage cannot be one, or no study has that name.
        DataError: there is no such file.
    """
    given = Path(study)
    if storage is not None:
        check_storage(storage)
        file = Path(storage.removeprefix("sqlite:///"))
        if ("://" not in storage or storage.startswith("sqlite:///")) and not file.is_file():
            problem = f"There is no file {file}, so it has no studies:"
            raise advised(DataError, problem, "--storage names where the study was run.")
        if len(given.parts) > 1 and given.is_dir():
            return Location(given.resolve().name, storage, out or given)
        return Location(study, storage, out or default_folder(files.run_name(study)))
    if out is not None and (out / JOURNAL).is_file() and len(given.parts) == 1:
        return Location(study, str(out / JOURNAL), out)
    own = files.found(given, OUT, [JOURNAL])
    if own is not None and own.is_file():
        own = own.parent
    if own is None or not (own / JOURNAL).is_file():
        raise _no_study(study, own)
    return Location(only_study(str(own / JOURNAL), given.name), str(own / JOURNAL), out or own)


def _no_study(study: str, folder: Path | None) -> OptionError:
    """The error for a name or a path that is of no study, with what it is, or what was meant."""
    if folder is not None and (folder / "metrics.jsonl").is_file():
        problem = f"{folder} is a run of one training, not a study."
        name = shlex.quote(str(folder))
        return for_both(
            OptionError(f"{problem} ravine.diagnose.diagnose({str(folder)!r}) says how it went."),
            f"{problem} `ravine diagnose {name}` says how it went, `ravine plot {name}` draws its losses.",
        )
    if len(Path(study).parts) > 1 and folder is not None:
        problem = f"The folder {folder} has no {JOURNAL}."
        return advised(OptionError, problem, "If the study is stored elsewhere, name its storage (--storage).")
    name = files.run_name(study)
    known = [journal.parent.name for journal in OUT.glob(f"*/{JOURNAL}")]
    problem = f"There is no study {name!r} in the folder {OUT}. {nearest(name, known)}"
    return advised(OptionError, problem, "If it is elsewhere, name its storage (--storage) or its folder (--out).")


def only_study(storage: str, wanted: str = "") -> str:
    """The name of the study in a storage that has one, of several tasks' studies that of all; ``wanted`` where it has others.

    Raises:
        DataError: there is none yet.
    """
    store = Store("any", storage)
    try:
        of_tasks = [str(kept["study"]) for kept in store.attribute_of_all(TASKS).values()]
        names = [*dict.fromkeys(of_tasks)] or store.names()
    finally:
        store.close()
    if not names:
        raise DataError(f"There is no study in {storage} yet.")
    return wanted if wanted and len(names) > 1 else names[0]


def studies_of_tasks(where: Location) -> dict[str, Location]:
    """The studies of each task, if that is a study of several; empty if there is a study of that very name, or none."""
    store = Store(where.study, where.storage)
    try:
        return {} if where.study in store.names() else {task: where.of_task(task) for task in kept_tasks(store)}
    finally:
        store.close()


def kept_tasks(store: Store) -> list[str]:
    """The names of a study's tasks, in the order in which they were added; empty if it is not of several, or has none yet.

    They are kept as a list, as names do not tell: the study ``exp.v2.digits`` is of ``exp.v2``, and not of ``exp``.
    """
    for kept in store.attribute_of_all(TASKS).values():
        if kept["study"] == store.name:
            return list(kept["tasks"])
    return []


def stored_record(store: Store) -> StudyRecord:
    """What was declared, and what was measured so far.

    Raises:
        OptionError: there is no such study; the others are named.
        DataError: the storage cannot be read, or another version of Ravine wrote the study.
    """
    spec = store.spec()
    stored = store.attribute(SECONDS)
    seconds, machine = ({}, "") if stored is None else seconds_of(stored)
    origin = StudyOrigin(store.name, without_password(store.where), store.attribute(COMMAND) or "", machine)
    broadcast = store.attribute(BROADCAST) or ""
    return StudyRecord(spec, store.results(), seconds, origin, _formulas_at_hand(spec), broadcast)


def _formulas_at_hand(spec: StudySpec) -> dict[str, OptimizerSpec]:
    """The optimizers whose code is here as it was: of the others a report shows no formula, and all their numbers."""
    loaded: dict[str, OptimizerSpec] = {}
    for config in spec.optimizers:
        own = {
            n: v for n, v in spec.versions.items() if n not in installed() and f"{config.source}:".startswith(f"{n}:")
        }
        with suppress(RavineError):
            loaded |= load_optimizers(replace(spec, optimizers=(config,), versions=own))
    return loaded
