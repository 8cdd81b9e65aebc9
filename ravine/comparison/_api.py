"""``ravine.compare``: a whole comparison in one call, which the command line makes too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, overload

from rich.console import Console

from ravine.comparison._earlier_study import EarlierStudy, earlier_study
from ravine.comparison._result import Result
from ravine.comparison._run_study import OpenStudy, PlannedStudy, open_study, plan_study, resume_command, run_study
from ravine.comparison._study.cost import Cost, cost_of
from ravine.comparison._study.local_workers import processors
from ravine.comparison._study.location import Location, choose_location
from ravine.comparison._study.schedules import SchedulesLike
from ravine.comparison._study.spaces import SpacesLike
from ravine.comparison._study.storage_errors import check_storage
from ravine.comparison._study.store import Store
from ravine.comparison._study.stored_study import (
    TASKS,
    TASKS_COMMAND,
    stored_location,
    stored_record,
    studies_of_tasks,
)
from ravine.comparison._tasks_result import TasksResult
from ravine.errors import OptionError, shown
from ravine.optim._spec import DEFAULTS
from ravine.optim._spec_objects import OptimizerLike
from ravine.tasks import Task
from ravine.train._arguments_of_others import answers

TaskLike = str | Path | Task
Tasks = list[TaskLike] | list[str] | tuple[TaskLike, ...]


@overload
def compare(task: TaskLike = ..., optimizers: OptimizerLike = ..., **options: Any) -> Result: ...


@overload
def compare(task: Tasks, optimizers: OptimizerLike = ..., **options: Any) -> TasksResult: ...


@answers  # type: ignore[misc]  # the options of both are the keywords here
def compare(
    task: TaskLike | Tasks = "digits",
    optimizers: OptimizerLike = DEFAULTS,
    *,
    preset: str = "standard",
    points: int | None = None,
    seeds: int | None = None,
    until: str = "",
    at_most: int | None = None,
    steps: int | None = None,
    margin: str = "",
    schedule: SchedulesLike = "",
    space: SpacesLike = None,
    halving: bool = False,
    study_seed: int = 0,
    data: str | Path | None = None,
    jobs: int | None = None,
    study: str | None = None,
    storage: str | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Result | TasksResult:
    """Compare optimizers fairly: equal tuning, repeated; fresh seeds; everyone against the best.

    For every seed each optimizer is tuned anew, with the same number of points from its search space, and its best point is
    trained once more with a fresh seed. Only these fresh runs are judged, and only they read the test data. A study that
    was stopped resumes if its ``study`` or ``out`` is named again; named with more ``seeds``, it goes on with them::

        ravine.compare("digits", ["sgd", RMSprop, partial(torch.optim.Adam, eps=1e-6)])
        ravine.compare(
            "digits",
            {"RMSprop": partial(RMSprop, alpha=0.9), "mine": lambda params: MyRule(params, lr=0.1)},
            space={"RMSprop": {"lr": log(1e-5, 0.1)}},
        )

    Args:
        task: the name of a task, the path of a Python file with one, or a Task; or several of them in a list, which are
            judged one by one and together.
        optimizers: one or several of: text as on the command line (``"rmsprop:alpha=0.9"``, ``"torch-adam"``,
            ``"my_rule.py:MyRule"``), a class of ravine, torch.optim or derived from them, a ``functools.partial`` of a
            class, or a function from the parameters to an optimizer. The keys of a dict are the labels. Options that
            are given stay fixed; the others are tuned in the search space.
        preset: ``"settle"``, ``"quick"``, ``"standard"`` or ``"full"``: how many points and seeds, and how long.
        points: points from the search space that each tuning tries, instead of the preset's.
        seeds: how many seeds, instead of the preset's.
        until: ``"settled"``: judge the study after 8, 11, 14, ... seeds, and end it where everything is settled.
        at_most: the largest number of seeds of a study that goes on until it is settled; 60 by default, with ``"settle"`` 100.
        steps: steps of each training, instead of the task's usual length.
        margin: the largest difference in the validation loss that does not matter, ``"0.01"`` or ``"1%"``; by default as
            much as the loss varies from one tuning to the next.
        schedule: how the learning rate changes: ``"cosine"`` for all, or by label, ``{"adam": "warmup-cosine:0.1"}``, where
            ``"*"`` is all others; empty: it stays constant.
        space: search spaces, ``{"RMSprop": {"lr": log(1e-5, 0.1), "alpha": complement(0.9, 0.999)}}`` by label, or a TOML
            file with them; those that are not there have the one that their class declares.
        halving: train all points of a tuning for a quarter of the steps, and only the better half of them for all: a quarter
            less of tuning's time, and at times another point is chosen.
        study_seed: another one has other points and other seeds: an independent repetition of the study.
        data: the folder or file that the task reads.
        jobs: how many trainings run at a time, each on one thread in a process of its own; by default as many as there
            are processors. A Task, and an optimizer that another process cannot import (a lambda, a class of a notebook or
            of the program that runs), train in this process, one at a time.
        study: the name of the study, to resume or to share it.
        storage: where its trials are kept: ``postgresql://...`` or the path of a journal file; by default a file in the
            folder of the report.
        out: the folder of the report; by default ``ravine-out/STUDY``.
        quiet: show no progress.

    Returns:
        What the study shows: ``print(result)``, ``judgement``, ``trials()``, ``curves()``, ``differences()``, ``write()``.
        Of a list of tasks ``tasks``, with the result of each by name, and ``aggregate``, with what they say together.

    Raises:
        OptionError: an argument is impossible, or the study was made with another spec.
        DataError: data or storage cannot be used.
        TrainingError: the task fails with these optimizers.
        KeyboardInterrupt: Ctrl-C. Finished trials are kept, as after any error, and the error's note says how to resume.
    """
    several = isinstance(task, list | tuple)
    declared = {
        "preset": preset, "points": points, "seeds": seeds, "until": until, "at_most": at_most, "steps": steps,
        "margin": margin, "schedule": schedule, "space": space, "halving": halving,
        "study_seed": study_seed,
    }  # fmt: skip
    place, earlier = _prepared(task, optimizers, jobs, data, study, storage, out, declared)
    for note in () if quiet else earlier.notes:
        _say(note)
    with ExitStack() as stack:
        opened: list[OpenStudy] = []
        for plan in earlier.plans:  # all of them before any is trained: workers on other machines find them
            where = place.of_task(plan.task.name) if several else place
            opened.append(open_study(plan, where, space, jobs))
            stack.callback(opened[-1].store.close)
        if not several:
            return run_study(opened[0], jobs, quiet=quiet)
        by_name = {one.plan.task.name: one for one in opened}
        tasks = [*earlier.tasks, *(name for name in by_name if name not in earlier.tasks)]
        first = by_name[tasks[0]].store
        first.set_attribute(TASKS, {"study": place.study, "tasks": tasks})
        command = _command_of_tasks(opened, place, space, jobs, preset, steps)
        first.set_attribute(TASKS_COMMAND, command)
        results = {}
        for index, (name, one) in enumerate(by_name.items()):
            title = f"{name}, task {index + 1} of {len(opened)}"
            results[name] = run_study(one, jobs, quiet=quiet, resume=command, title=title)
    return TasksResult(results, place.study, place.folder, command)


def _say(note: str) -> None:
    Console(stderr=True).print(note, markup=False, highlight=False, soft_wrap=True)


def _prepared(
    task: TaskLike | Tasks,
    optimizers: OptimizerLike,
    jobs: int | None,
    data: str | Path | None,
    study: str | None,
    storage: str | None,
    out: str | Path | None,
    declared: dict[str, Any],
    *,
    make: bool = True,
) -> tuple[Location, EarlierStudy]:
    """Where a comparison goes, and what is there of it; without ``make`` no folder is made. Everything is refused here."""
    if storage is not None:
        check_storage(storage)
    plans = _plans(task, optimizers, jobs, data, declared)
    own = next((plan.only_here for plan in plans if plan.only_here), "")
    if own and ((jobs or 1) > 1 or study or storage):
        what = f"with jobs={jobs}" if (jobs or 1) > 1 else "in a study that is shared or resumed"
        raise OptionError(f"{own} Until then it cannot run {what}.")
    names, folder = [plan.task.name for plan in plans], None if out is None else Path(out)
    place = choose_location(names, study, storage, folder, may_resume=not own, make=make)
    return place, earlier_study(plans, place, several=isinstance(task, list | tuple))


def _plans(
    task: TaskLike | Tasks,
    optimizers: OptimizerLike,
    jobs: int | None,
    data: str | Path | None,
    declared: dict[str, Any],
) -> list[PlannedStudy]:
    """What is declared of each task.

    Raises:
        OptionError: several tasks cannot be put together.
    """
    if not isinstance(task, list | tuple):
        return [plan_study(task, optimizers, jobs, data, **declared)]
    if not task:
        raise OptionError("There is no task: name at least one, such as 'digits'.")
    if data is not None:
        raise OptionError(
            f"data = {shown(str(data))}: several tasks do not share their data. Leave it out, or make a Task of each."
        )
    plans = [plan_study(one, optimizers, jobs, None, **declared) for one in task]
    names = [plan.task.name for plan in plans]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise OptionError(f"The task {twice!r} is named twice: leave one out, or give one of them another name.")
    if len(plans[0].spec.optimizers) < 2:
        raise OptionError("Over several tasks at least two optimizers are compared: name another one.")
    if plans[0].spec.seeds < 2:
        raise OptionError("seeds = 1: over several tasks optimizers are compared on at least 2 seeds.")
    return plans


def _command_of_tasks(
    opened: Sequence[OpenStudy], place: Location, space: SpacesLike, jobs: int | None, preset: str, steps: int | None
) -> str:
    """The command line that resumes all tasks, with the seeds of the one that has most; empty where there is none."""
    if any(not one.command for one in opened):
        return ""
    tasks = [one.plan.spec.task for one in opened]
    length = ["--preset", preset] if steps is None else ["--steps", str(steps)]
    spec = max((one.plan.spec for one in opened), key=lambda spec: spec.seeds)
    return resume_command(spec, place, space, jobs, tasks=tasks, length=length)


def estimate(
    task: TaskLike | Tasks = "digits",
    optimizers: OptimizerLike = DEFAULTS,
    *,
    jobs: int | None = None,
    data: str | Path | None = None,
    study: str | None = None,
    storage: str | None = None,
    out: str | Path | None = None,
    **declaration: Any,
) -> dict[str, Cost]:
    """What a comparison will cost on this machine, by task: trainings, hours, and the smallest difference it can show.

    A few steps of each optimizer are timed; nothing is kept. The arguments are those of :func:`compare`, ``declaration`` those
    from ``preset`` to ``study_seed``.

    Raises:
        OptionError: an argument is impossible, or the study was made with another spec.
        DataError: data or storage cannot be used.
        TrainingError: the task fails with these optimizers.
    """
    _, earlier = _prepared(task, optimizers, jobs, data, study, storage, out, declaration, make=False)
    for note in earlier.notes:
        _say(note)
    return {
        p.task.name: cost_of(p.spec, p.task, p.optimizers, 1 if p.only_here else jobs or processors())
        for p in earlier.plans
    }


def load_study(
    study: str | os.PathLike[str], *, storage: str | None = None, out: str | Path | None = None
) -> Result | TasksResult:
    """What a study has found so far, from its storage: nothing is trained, and the task's data are not needed.

    A study that still runs is judged at the last look that is complete, and a warning says so. Before the first look there
    are numbers, and no verdict; until each optimizer has finished two seeds, ``judgement`` raises an error::

        result = ravine.comparison.load_study("mine")
        print(result.record.progress.sentence)
        result.write()

    Args:
        study: its name, or its folder; that of a study of several tasks gives a result with all of them.
        storage: where it is kept, as in :func:`compare`; by default the journal file in the folder of the report.
        out: the folder of the report; by default ``ravine-out/STUDY``.

    Raises:
        OptionError: there is no such study.
        DataError: the storage cannot be read, or is damaged.
    """
    if not isinstance(study, str | os.PathLike):
        raise OptionError(f"study {shown(study)}: give the name of a study, load_study('mine').")
    where = stored_location(str(study), storage, None if out is None else Path(out))
    tasks = studies_of_tasks(where)
    if not tasks:
        return _loaded(where)[0]
    loaded = {task: _loaded(place) for task, place in tasks.items()}
    command = next((command for _, command in loaded.values() if command), "")
    return TasksResult({task: result for task, (result, _) in loaded.items()}, where.study, where.folder, command)


def _loaded(where: Location) -> tuple[Result, str]:
    """The study there, and the command that resumes all tasks if it is the first of several."""
    store = Store(where.study, where.storage)
    try:
        return Result(stored_record(store), where.folder), store.attribute(TASKS_COMMAND) or ""
    finally:
        store.close()
