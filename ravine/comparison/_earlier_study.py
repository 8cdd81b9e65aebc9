"""What a storage and a folder have already, looked at before anything is made: whether a study can be put there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ravine.comparison._judge.number_text import listed
from ravine.comparison._run_study import PlannedStudy
from ravine.comparison._study.location import JOURNAL, Location
from ravine.comparison._study.report_folder import check_folder
from ravine.comparison._study.store import Store
from ravine.comparison._study.stored_study import kept_tasks
from ravine.errors import OptionError, advised


def earlier_tasks(plans: Sequence[PlannedStudy], place: Location, *, several: bool) -> list[str]:
    """The tasks that a study of several has already. All must be named: so each is known to be declared as the others are.

    Nothing is written.

    Raises:
        OptionError: the study was declared differently, or the folder has another one.
        DataError: the storage cannot be used.
    """
    places = [place.of_task(plan.task.name) if several else place for plan in plans]
    specs, tasks = [plan.spec for plan in plans], list[str]()
    file = place.storage.removeprefix("sqlite:///")
    if "://" in file or Path(file).is_file():  # one that is not there is not made
        with closing(Store(place.study, place.storage)) as store:
            tasks, names = kept_tasks(store), store.names()
        _check_tasks(tasks, names, [plan.task.name for plan in plans], place, several)
        if place.storage == str(place.folder / JOURNAL) and names and not {*names} & {each.study for each in places}:
            problem = f"The folder {place.folder} has the study {listed(names)}, and not {place.study!r}."
            raise advised(OptionError, problem, "Name that study (--study), or another folder (--out).")
        for i, each in enumerate(places):
            with closing(Store(each.study, each.storage)) as store:
                specs[i] = store.would_be(specs[i])
    if several:
        check_folder(place)
    for each, spec in zip(places, specs, strict=True):
        check_folder(each, spec)
    return tasks


def _check_tasks(
    earlier: Sequence[str], names: Sequence[str], now: Sequence[str], place: Location, several: bool
) -> None:
    """Refuse a study that has other tasks than are named.

    Raises:
        OptionError: it has.
    """
    if several and place.study in names:
        raise OptionError(f"The study {place.study!r} has one task: name another study for several.")
    missing = [name for name in earlier if name not in now]
    if missing or (earlier and not several):
        every = " ".join([*earlier, *(name for name in now if name not in earlier)])
        raise OptionError(
            f"The study {place.study!r} has {listed(missing or earlier)}, too: name all of its tasks, {every}, or another study."
        )
