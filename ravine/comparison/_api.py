"""A whole comparison in one call: declare, tune, confirm, measure; ``ravine.compare`` and the command line use it."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from ravine.comparison._live_view import LiveView
from ravine.comparison._result import Result
from ravine.comparison._study.declare import declare
from ravine.comparison._study.local_workers import processors, run_workers
from ravine.comparison._study.location import JOURNAL, Location, choose_location, default_folder
from ravine.comparison._study.stages import Stage, final_results
from ravine.comparison._study.step_seconds import StepSeconds, measure_seconds
from ravine.comparison._study.storage_errors import check_storage, without_password
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_record import Origin, StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial_worker import work
from ravine.errors import OptionError, RavineError, TrainingError
from ravine.optim import _spec as specs
from ravine.tasks import Task, find
from ravine.tasks._dry_run import dry_run

_SECONDS = "seconds"


def compare(
    task: str | Path | Task = "digits",
    optimizers: Sequence[str] = specs.DEFAULTS,
    *,
    preset: str = "standard",
    points: int | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    schedule: str = "",
    space: str | Path | None = None,
    reference: str = "",
    data: str | Path | None = None,
    jobs: int | None = None,
    study: str | None = None,
    storage: str | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Result:
    """Compare optimizers fairly: equal tuning, fresh seeds, paired differences.

    Every optimizer is tried at as many points of its search space, the best of them again with more seeds, and the
    one that is best then is confirmed with fresh seeds, the same for all. Only there the test data are read.
    A study that was stopped goes on where it was if its ``study`` or ``out`` is named again.

    Args:
        task: the name of a task, the path of a Python file with one, or a Task; a Task is trained in this process.
        optimizers: as on the command line: ``"rmsprop:alpha=0.9"``, ``"torch-adam"``, ``"my_rule.py:MyRule"``.
        preset: ``"quick"``, ``"standard"`` or ``"full"``: how many points and seeds, and how long.
        points: of each search space, instead of the preset's.
        seeds: fresh ones to confirm with, instead of the preset's.
        steps: of each training, instead of the task's usual length.
        schedule: how the learning rate changes, for all, such as ``"cosine"``; empty: not at all.
        space: a TOML file with other search spaces.
        reference: the optimizer whose runs set the target; the first if empty.
        data: the folder or file that the task reads.
        jobs: how many trainings run at a time, each on one thread; as many as there are processors.
        study: the name of the study, to go on with it or to share it.
        storage: where its trials are kept: ``postgresql://...`` or the path of a journal file; else a file in the
            folder of the report.
        out: the folder of the report; else ``ravine-out/STUDY``.
        quiet: show no progress.

    Returns:
        What was found: ``judgement``, ``trials()``, ``curves()``, ``differences()``, ``write()``.

    Raises:
        OptionError: an argument cannot be what it is, or the study was made with another spec.
        DataError: data or storage cannot be used.
        TrainingError: the task fails with these optimizers.
        KeyboardInterrupt: Ctrl-C. What is done is kept, as after any error, and the error's note says how to go on.
    """
    found = task if isinstance(task, Task) else find(str(task), None if data is None else Path(data))
    if isinstance(task, Task) and (study or storage):
        raise OptionError(
            "A Task that was made here cannot be shared or gone on with: give the path of a Python file with it."
        )
    if storage is not None:
        check_storage(storage)
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs = {jobs}: at least one training has to run at a time.")
    named = found.name if isinstance(task, Task) else str(task)
    parsed = specs.parse_all(optimizers, found.name)
    spec = declare(
        found,
        named,
        parsed,
        preset=preset,
        points=points,
        seeds=seeds,
        steps=steps,
        schedule=schedule,
        space=None if space is None else Path(space),
        reference=reference,
        data=None if data is None else Path(data),
    )
    by_label = {one.label: one for one in parsed}
    for config in spec.optimizers:  # what cannot work is said before a folder is made, and kernels are compiled once
        dry_run(found, by_label[config.label].at(config.middle))
    where = choose_location(found.name, study, storage, None if out is None else Path(out))
    store = Store(where.study, where.storage)
    try:
        store.create(spec)
        resume = "" if isinstance(task, Task) else command(spec, where, space, jobs)
        try:
            with LiveView(spec) if not quiet else nullcontext() as view:
                on_progress = view.update if view is not None else lambda now, results: None
                together = jobs or processors()
                if isinstance(task, Task) or together == 1:
                    stage = work(store, spec, found, on_progress, optimizers=by_label)
                else:
                    stage = run_workers(store, spec, together, on_progress, None if data is None else Path(data))
                seconds, machine = _seconds(store, spec, found, by_label, stage)
        except (KeyboardInterrupt, RavineError) as stopped:
            with suppress(RavineError):  # the storage may be what failed
                stopped.add_note(f"{len(store.results())} trainings are done and kept.{resume and f' Go on: {resume}'}")
            raise
        origin = Origin(where.study, without_password(where.storage), resume, machine)
        result = Result(StudyRecord(spec, store.results(), seconds, origin, by_label), where.folder)
    finally:
        store.close()
    _check(result)
    return result


def command(spec: StudySpec, where: Location, space: str | Path | None = None, jobs: int | None = None) -> str:
    """The command line that makes the study of this spec, or goes on with it; without a password."""
    words = ["ravine", "compare", spec.task]
    for config in spec.optimizers:
        words += ["-o", config.label]
    words += ["--points", str(spec.points), "--seeds", str(spec.seeds), "--steps", str(spec.steps)]
    given = {
        "schedule": spec.schedule,
        "reference": spec.reference,
        "data": spec.data,
        "space": space,
        "jobs": jobs,
        "study": where.study,
        "out": where.folder if where.folder != default_folder(where.study) else "",
        "storage": without_password(where.storage) if where.storage != str(where.folder / JOURNAL) else "",
    }
    return shlex.join([*words, *(word for name, value in given.items() if value for word in (f"--{name}", str(value)))])


def _seconds(
    store: Store, spec: StudySpec, task: Task, optimizers: Mapping[str, specs.OptimizerSpec], now: Stage
) -> tuple[dict[str, StepSeconds], str]:
    """Seconds of a step and the machine they were measured on: kept, so that a report made again says the same."""
    stored = store.attribute(_SECONDS)
    if stored is None:
        results = store.results()
        sound = {
            label: point
            for label, point in now.chosen.items()
            if any(not result.error for result in final_results(spec, label, point, results))
        }
        measured = measure_seconds(task, optimizers, sound)
        stored = {"machine": _machine(), "steps": {label: [s.step, s.share] for label, s in measured.items()}}
        store.set_attribute(_SECONDS, stored)
    return {label: StepSeconds(*pair) for label, pair in stored["steps"].items()}, stored["machine"]


def _machine() -> str:
    """The processor, the threads, the system."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {processors()} threads, {platform.system()}, Python {platform.python_version()}"


def _check(result: Result) -> None:
    """Refuse a study in which no confirmation gave a loss.

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
