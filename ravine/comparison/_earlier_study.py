"""What a storage and a folder have already, looked at before anything is made: whether a study can be put there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ravine.comparison._judge.number_text import count, listed
from ravine.comparison._run_study import PlannedStudy
from ravine.comparison._study.location import JOURNAL, Location
from ravine.comparison._study.report_folder import check_folder
from ravine.comparison._study.stages import settled, stage
from ravine.comparison._study.store import Store
from ravine.comparison._study.stored_study import kept_tasks
from ravine.comparison._study.study_spec import StudySpec
from ravine.errors import DataError, OptionError, advised


@dataclass(frozen=True)
class EarlierStudy:
    """What is there already of a comparison.

    Attributes:
        plans: what was planned; a study that is settled stays as it is, whatever seeds were asked for.
        tasks: those that a study of several has already.
        notes: what was asked for and is not done, in a sentence each.
    """

    plans: list[PlannedStudy]
    tasks: list[str]
    notes: list[str]


def earlier_study(plans: Sequence[PlannedStudy], place: Location, *, several: bool) -> EarlierStudy:
    """What is there already of what is planned; nothing is written.

    Of several tasks, all that are there must be named: so each is known to be declared as the others are.

    Raises:
        OptionError: the study was declared differently, or the folder has another one.
        DataError: the storage cannot be used.
    """
    places = [place.of_task(plan.task.name) if several else place for plan in plans]
    found = EarlierStudy(list(plans), [], [])
    file = place.storage.removeprefix("sqlite:///")
    if "://" in file or Path(file).is_file():  # one that is not there is not made
        with closing(Store(place.study, place.storage)) as store:
            found.tasks.extend(kept_tasks(store))
            names = store.names()
        _check_tasks(found.tasks, names, [plan.task.name for plan in plans], place, several)
        if place.storage == str(place.folder / JOURNAL) and names and not {*names} & {each.study for each in places}:
            problem = f"The folder {place.folder} has the study {listed(names)}, and not {place.study!r}."
            raise advised(OptionError, problem, "Name that study (--study), or another folder (--out).")
        for i, each in enumerate(places):
            if each.study in names:
                with closing(Store(each.study, each.storage)) as store:
                    spec, note = _joined(plans[i].spec, store)
                found.plans[i] = replace(plans[i], spec=spec)
                found.notes.extend([note] if note else [])
    elif place.storage != str(place.folder / JOURNAL) and not Path(file).parent.is_dir():
        raise DataError(f"The storage {place.storage} cannot be used: there is no folder {Path(file).parent}.")
    if several:
        check_folder(place)
    for each, plan in zip(places, found.plans, strict=True):
        check_folder(each, plan.spec)
    return found


def _joined(spec: StudySpec, store: Store) -> tuple[StudySpec, str]:
    """The spec with which the study in the store goes on, and what is to be said of it.

    One that is settled gets no more seeds. It would train nothing, as it ends where nothing is left to settle, and only pay
    for one more look. In the simulations of extensions, too, a settled study gets none.
    """
    joined, before, results = store.joined(spec), store.spec(), store.results()
    if joined.seeds == before.seeds or not settled(before, results):
        return joined, ""
    return before, (
        f"{store.name} is settled after {count(stage(before, results).seeds, 'seed')}, so no seeds are added: they would change no verdict. For narrower "
        f"intervals make a new study with {spec.seeds} seeds: another --study, and --study-seed {before.seed + 1}."
    )


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
