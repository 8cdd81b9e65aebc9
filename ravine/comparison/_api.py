"""``ravine.compare``: a whole comparison in one call, which the command line makes too."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from ravine.comparison._judge.number_text import count
from ravine.comparison._live_view import LiveView
from ravine.comparison._result import Result
from ravine.comparison._study.cost import Cost, cost_of
from ravine.comparison._study.declare import declare
from ravine.comparison._study.local_workers import processors, run_workers
from ravine.comparison._study.location import JOURNAL, Location, choose_location, default_folder
from ravine.comparison._study.schedules import SchedulesLike
from ravine.comparison._study.spaces import SpacesLike
from ravine.comparison._study.step_seconds import StepSeconds, measure_seconds
from ravine.comparison._study.storage_errors import check_storage, without_password
from ravine.comparison._study.store import Store
from ravine.comparison._study.stored_study import COMMAND, SECONDS, seconds_of, stored_location, stored_record
from ravine.comparison._study.study_record import StudyOrigin, StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial_worker import work
from ravine.errors import OptionError, RavineError, TrainingError, shown
from ravine.optim._spec import DEFAULTS, OptimizerSpec
from ravine.optim._spec_objects import OptimizerLike, specs_of
from ravine.tasks import Task, find
from ravine.tasks._dry_run import dry_run


def compare(
    task: str | Path | Task = "digits",
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
    study_seed: int = 0,
    data: str | Path | None = None,
    jobs: int | None = None,
    study: str | None = None,
    storage: str | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Result:
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
        task: the name of a task, the path of a Python file with one, or a Task.
        optimizers: one or several of: text as on the command line (``"rmsprop:alpha=0.9"``, ``"torch-adam"``,
            ``"my_rule.py:MyRule"``), a class of ravine, torch.optim or derived from them, a ``functools.partial`` of a
            class, or a function from the parameters to an optimizer. The keys of a dict are the labels. Options that
            are given stay fixed; the others are tuned in the search space.
        preset: ``"quick"``, ``"standard"`` or ``"full"``: how many points and seeds, and how long.
        points: points from the search space that each tuning tries, instead of the preset's.
        seeds: how many seeds, instead of the preset's.
        until: ``"settled"``: judge the study after 5, 10, 20, ... seeds, and end it where everything is settled.
        at_most: the largest number of seeds of a study that goes on until it is settled; 60 by default.
        steps: steps of each training, instead of the task's usual length.
        margin: the largest difference in the validation loss that does not matter, ``"0.01"`` or ``"1%"``; by default as
            much as the loss varies from one tuning to the next.
        schedule: how the learning rate changes: ``"cosine"`` for all, or by label, ``{"adam": "warmup-cosine:0.1"}``, where
            ``"*"`` is all others; empty: it stays constant.
        space: search spaces, ``{"RMSprop": {"lr": log(1e-5, 0.1), "alpha": complement(0.9, 0.999)}}`` by label, or a TOML
            file with them; those that are not there have the one that their class declares.
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

    Raises:
        OptionError: an argument is impossible, or the study was made with another spec.
        DataError: data or storage cannot be used.
        TrainingError: the task fails with these optimizers.
        KeyboardInterrupt: Ctrl-C. Finished trials are kept, as after any error, and the error's note says how to resume.
    """
    if storage is not None:
        check_storage(storage)
    spec, trained, by_label, own = _planned(
        task,
        optimizers,
        jobs,
        data,
        preset=preset,
        points=points,
        seeds=seeds,
        until=until,
        at_most=at_most,
        steps=steps,
        margin=margin,
        schedule=schedule,
        space=space,
        study_seed=study_seed,
    )
    if own and ((jobs or 1) > 1 or study or storage):
        what = f"with jobs={jobs}" if (jobs or 1) > 1 else "in a study that is shared or resumed"
        raise OptionError(f"{own} Until then it cannot run {what}.")
    where = choose_location(trained.name, study, storage, None if out is None else Path(out), may_resume=not own)
    store = Store(where.study, where.storage)
    try:
        spec = store.create(spec)
        command = "" if own else resume_command(spec, where, space, jobs)
        if command != (store.attribute(COMMAND) or ""):
            store.set_attribute(COMMAND, command)
        try:
            with LiveView(spec) if not quiet else nullcontext() as view:
                on_progress = view.update if view is not None else lambda now, results: None
                workers = 1 if own else jobs or processors()
                if workers == 1:
                    work(store, spec, trained, on_progress, optimizers=by_label)
                else:
                    run_workers(store, spec, workers, on_progress, None if data is None else Path(data))
                seconds, machine = _seconds(store, spec, trained, by_label)
        except (KeyboardInterrupt, RavineError) as stopped:
            finished = "All that finished is saved."
            with suppress(RavineError):  # the storage may be what failed
                finished = f"{count(len(store.results()), 'training')} finished and saved."
            resume = "" if own else f" Resume: {command or f'make the same call with study={where.study!r}'}"
            stopped.add_note(finished + resume)
            raise
        origin = StudyOrigin(where.study, without_password(where.storage), command, machine)
        result = Result(StudyRecord(spec, store.results(), seconds, origin, by_label), where.folder)
    finally:
        store.close()
    _check(result)
    return result


def estimate(
    task: str | Path | Task = "digits",
    optimizers: OptimizerLike = DEFAULTS,
    *,
    jobs: int | None = None,
    data: str | Path | None = None,
    **declaration: Any,
) -> Cost:
    """What a comparison will cost on this machine: trainings, hours, and the smallest difference it can show.

    A few steps of each optimizer are timed; nothing is kept. ``declaration`` are the arguments of :func:`compare` from
    ``preset`` to ``study_seed``.

    Raises:
        OptionError: an argument is impossible.
        DataError: data cannot be used.
        TrainingError: the task fails with these optimizers.
    """
    spec, trained, by_label, own = _planned(task, optimizers, jobs, data, **declaration)
    return cost_of(spec, trained, by_label, 1 if own else jobs or processors())


def _planned(
    task: str | Path | Task,
    optimizers: OptimizerLike,
    jobs: int | None,
    data: str | Path | None,
    **declaration: Any,
) -> tuple[StudySpec, Task, dict[str, OptimizerSpec], str]:
    """What is declared, its task and optimizers, and what only this process has of them; mistakes are reported here."""
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1):
        raise OptionError(f"jobs = {shown(jobs)}: give a whole number, at least 1.")
    path = None if data is None else Path(data)
    trained = task if isinstance(task, Task) else find(str(task), path)
    parsed = specs_of(optimizers, trained.name)
    name = trained.name if isinstance(task, Task) else str(task)
    spec = declare(trained, name, parsed, data=path, **declaration)
    by_label = {one.label: one for one in parsed}
    for config in spec.optimizers:  # before a folder is made; and kernels are compiled once
        dry_run(trained, by_label[config.label].at(config.middle))
    return spec, trained, by_label, _only_here(task, parsed)


def load_study(study: str, *, storage: str | None = None, out: str | Path | None = None) -> Result:
    """What a study has found so far, from its storage: nothing is trained, and the task's data are not needed.

    A study that still runs is judged at the last look that is complete, and a warning says so. Before the first look there
    are numbers, and no verdict; until each optimizer has finished two seeds, ``judgement`` raises an error::

        result = ravine.comparison.load_study("mine")
        print(result.record.progress.sentence)
        result.write()

    Args:
        study: its name.
        storage: where it is kept, as in :func:`compare`; by default the journal file in the folder of the report.
        out: the folder of the report; by default ``ravine-out/STUDY``.

    Raises:
        OptionError: there is no such study.
        DataError: the storage cannot be read, or is damaged.
    """
    where = stored_location(study, storage, None if out is None else Path(out))
    store = Store(where.study, where.storage)
    try:
        return Result(stored_record(store), where.folder)
    finally:
        store.close()


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


def resume_command(spec: StudySpec, where: Location, space: SpacesLike = None, jobs: int | None = None) -> str:
    """The command line that makes the study of this spec, or resumes it; without a password.

    Empty where a command line cannot say it: labels or spaces that Python has given.
    """
    if isinstance(space, Mapping) or any(config.label != config.source for config in spec.optimizers):
        return ""
    words = ["ravine", "compare", spec.task]
    for config in spec.optimizers:
        words += ["-o", config.label]
    schedules = [spec.schedule, *(f"{c.label}={c.schedule}" for c in spec.optimizers if c.schedule)]
    words += [word for text in schedules if text for word in ("--schedule", text)]
    words += ["--points", str(spec.points), *_seeds_words(spec), "--steps", str(spec.steps)]
    given = {
        "margin": spec.margin,
        "study-seed": spec.seed or "",
        "data": spec.data,
        "space": space,
        "jobs": jobs,
        "study": where.study,
        "out": where.folder if where.folder != default_folder(where.study) else "",
        "storage": without_password(where.storage) if where.storage != str(where.folder / JOURNAL) else "",
    }
    return shlex.join([*words, *(word for name, value in given.items() if value for word in (f"--{name}", str(value)))])


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
    return f"{name}, {processors()} threads, {platform.system()}, Python {platform.python_version()}"


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
    raise TrainingError(
        "Every optimizer diverged with all fresh seeds, so there is nothing to judge. Search lower rates (--space)."
    )
