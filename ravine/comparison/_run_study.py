"""Runs the study of one task: declared, opened in its storage, trained, its seconds measured."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ravine.comparison._judge.number_text import count
from ravine.comparison._live_view import LiveView
from ravine.comparison._result import Result
from ravine.comparison._study.declare import declare
from ravine.comparison._study.local_workers import processors, run_workers
from ravine.comparison._study.location import Location, place_words
from ravine.comparison._study.spaces import SpacesLike
from ravine.comparison._study.step_seconds import StepSeconds, measure_seconds
from ravine.comparison._study.storage_errors import without_password
from ravine.comparison._study.store import Store
from ravine.comparison._study.stored_study import BROADCAST, COMMAND, SECONDS, seconds_of
from ravine.comparison._study.study_record import StudyOrigin, StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import validation_split
from ravine.comparison._study.trial_worker import work
from ravine.errors import OptionError, RavineError, TrainingError, advised, shown
from ravine.optim._spec import OptimizerSpec
from ravine.optim._spec_objects import OptimizerLike, specs_of
from ravine.tasks import Task
from ravine.tasks._data_check import broadcasting, check_numbers, find_same
from ravine.tasks._data_check import content as content_of
from ravine.tasks._dry_run import dry_run


@dataclass(frozen=True)
class PlannedStudy:
    """What is declared of a task.

    Attributes:
        spec, task: what was declared, and what is trained.
        optimizers: by label.
        only_here: what only this process has of them, in a sentence with what to do; empty if any process can run the trials.
        data: the folder or file that the task reads.
        broadcast: that the task's loss broadcasts outputs against targets, in a sentence; empty if it does not.
    """

    spec: StudySpec
    task: Task
    optimizers: Mapping[str, OptimizerSpec]
    only_here: str
    data: Path | None = None
    broadcast: str = ""


@dataclass(frozen=True)
class OpenStudy:
    """A planned study in its storage.

    Attributes:
        plan: with the spec that the storage has.
        store, where: the storage, and the place of the report.
        command: what makes the study again, or resumes it; empty where no command line can say it.
    """

    plan: PlannedStudy
    store: Store
    where: Location
    command: str


def plan_study(
    task: str | Path | Task,
    optimizers: OptimizerLike,
    jobs: int | None,
    data: str | Path | None,
    **declaration: Any,
) -> PlannedStudy:
    """What is declared; mistakes are reported here."""
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1):
        raise OptionError(f"jobs = {shown(jobs)}: give a whole number, at least 1.")
    path = None if data is None else Path(data)
    if not isinstance(task, Task | str | os.PathLike):
        name = getattr(task, "__name__", "")
        called = f": {name}()" if callable(task) and name.isidentifier() else ""
        raise OptionError(
            f"A task is its name, the path of a .py file with one, or a ravine.tasks.Task; got {shown(task)}."
            + f" Call the function that makes it{called}." * callable(task)
        )
    trained, content = (task, content_of(task)) if isinstance(task, Task) else find_same(str(task), path)
    parsed = specs_of(optimizers, trained.name)
    name = trained.name if isinstance(task, Task) else str(task)
    spec = replace(declare(trained, name, parsed, data=path, **declaration), content=content)
    by_label = {one.label: one for one in parsed}
    training, _ = validation_split(trained, 0)  # with as many rows as there will be
    for config in spec.optimizers:  # before a folder is made; and kernels are compiled once
        dry_run(training, by_label[config.label].at(config.middle))
    check_numbers(trained)
    return PlannedStudy(spec, trained, by_label, _only_here(task, parsed), path, broadcasting(training))


def open_study(plan: PlannedStudy, where: Location, space: SpacesLike, jobs: int | None) -> OpenStudy:
    """Make the study in its storage, or open the one that is there.

    Raises:
        OptionError: the study was made with another spec.
        DataError: the storage cannot be used.
    """
    store = Store(where.study, where.storage)
    try:
        spec = store.create(plan.spec)
        command = "" if plan.only_here else resume_command(spec, where, space, jobs)
        if command != (store.attribute(COMMAND) or ""):
            store.set_attribute(COMMAND, command)
        if plan.broadcast:
            store.set_attribute(BROADCAST, plan.broadcast)
    except BaseException:
        store.close()
        raise
    return OpenStudy(replace(plan, spec=spec), store, where, command)


def run_study(study: OpenStudy, jobs: int | None, *, quiet: bool, resume: str = "", title: str = "") -> Result:
    """Train until the study is done.

    Args:
        study: what to run.
        jobs: how many trainings run at a time; None is one for each processor.
        quiet: show no progress.
        resume: what an error says to do, where that is not the study's own command.
        title: what is shown above the progress.

    Raises:
        TrainingError: the task fails with these optimizers.
        KeyboardInterrupt: Ctrl-C; its note says how to resume.
    """
    plan, store, where = study.plan, study.store, study.where
    spec, by_label = plan.spec, plan.optimizers
    try:
        with LiveView(spec, title) if not quiet else nullcontext() as view:
            on_progress = view.update if view is not None else lambda now, results: None
            workers = 1 if plan.only_here else jobs or processors()
            if workers == 1:
                work(store, spec, plan.task, on_progress, optimizers=by_label)
            else:
                run_workers(store, spec, workers, on_progress, plan.data)
            seconds, machine = _seconds(store, spec, plan.task, by_label)
    except (KeyboardInterrupt, RavineError) as stopped:
        finished = "All that finished is saved."
        with suppress(RavineError):  # the storage may be what failed
            finished = f"{count(len(store.results()), 'training')} finished and saved."
        how = resume or study.command or f"make the same call with study={where.study!r}"
        stopped.add_note(finished + ("" if plan.only_here else f" Resume: {how}"))
        raise
    origin = StudyOrigin(where.study, without_password(where.storage), study.command, machine)
    result = Result(StudyRecord(spec, store.results(), seconds, origin, by_label, plan.broadcast), where.folder)
    _check(result)
    return result


def _only_here(task: str | Path | Task, optimizers: list[OptimizerSpec]) -> str:
    """What only this process has, in a sentence with what to do; empty if any process can run the trials."""
    if isinstance(task, Task):
        return "A Task that was made here is known to this process only: give the path of a Python file with it."
    for one in optimizers:
        if not one.text:
            name = one.name if one.name.isidentifier() else "MyRule"
            return (
                f"{one.label!r} was made here and is known to this process only: put it in a file, and name it "
                f"'my_rule.py:{name}'."
            )
    return ""


def resume_command(
    spec: StudySpec,
    where: Location,
    space: SpacesLike = None,
    jobs: int | None = None,
    *,
    tasks: Sequence[str] = (),
    length: Sequence[str] = (),
) -> str:
    """The command line that makes the study of this spec, or resumes it; without a password.

    Empty where a command line cannot say it: labels or spaces that Python has given. With several ``tasks`` the spec is that
    of one, and ``length`` says how long trainings are.
    """
    if isinstance(space, Mapping) or any(config.label != config.source for config in spec.optimizers):
        return ""
    words = ["ravine", "compare", *(tasks or [spec.task])]
    for config in spec.optimizers:
        words += ["-o", config.label]
    schedules = [spec.schedule, *(f"{c.label}={c.schedule}" for c in spec.optimizers if c.schedule)]
    words += [word for text in schedules if text for word in ("--schedule", text)]
    words += [
        "--points",
        str(spec.points),
        *["--halving"] * spec.halving,
        *_seeds_words(spec),
        *(length or ["--steps", str(spec.steps)]),
    ]
    given = {
        "margin": spec.margin,
        "study-seed": spec.seed or "",
        "data": spec.data,
        "space": space,
        "jobs": jobs,
    }
    words += [word for name, value in given.items() if value for word in (f"--{name}", str(value))]
    return shlex.join([*words, *place_words(replace(where, storage=without_password(where.storage)))])


def _seeds_words(spec: StudySpec) -> list[str]:
    """As many seeds; of a study that was extended, a new one has a single look at all of them."""
    if spec.extended or len(spec.looks) == 1:
        return ["--seeds", str(spec.seeds)]
    return ["--until", "settled", "--at-most", str(spec.seeds)]


def _seconds(
    store: Store, spec: StudySpec, task: Task, optimizers: Mapping[str, OptimizerSpec]
) -> tuple[dict[str, StepSeconds], str]:
    """Seconds of a step and the machine they were measured on: kept, so that a report made again says the same."""
    stored = store.attribute(SECONDS)
    if stored is None:
        runs = StudyRecord(spec, store.results()).runs
        sound = {each.name: each.typical for each in runs if any(not run.diverged for run in each.runs)}
        measured = measure_seconds(task, optimizers, sound)
        stored = {
            "machine": _machine(),
            "steps": {label: [s.step, s.optimizer_fraction] for label, s in measured.items()},
        }
        store.set_attribute(SECONDS, stored)
    return seconds_of(stored)


def _machine() -> str:
    """The processor, the threads, the system."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {count(processors(), 'thread')}, {platform.system()}, Python {platform.python_version()}"


def _check(result: Result) -> None:
    """Refuse a study in which no fresh run gave a loss.

    Raises:
        TrainingError: none did; the last line of a traceback is in the text.
    """
    results = list(result.trial_results.values())
    errors = [one.error for one in results if one.error]
    if any(not run.diverged for each in result.record.runs for run in each.runs):
        return
    if errors:
        last = errors[-1].strip().rpartition("\n")[2]
        raise TrainingError(
            f"{len(errors)} of {len(results)} trainings failed, and no optimizer is left to judge: {last}"
        )
    problem = "Every optimizer diverged with all fresh seeds, so there is nothing to judge."
    raise advised(TrainingError, problem, "Search lower rates (--space).")
