"""A whole comparison in one call: declare, tune, confirm, measure; ``ravine.compare`` and the command line use it."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from ravine.comparison._live_view import View
from ravine.comparison._result import Result
from ravine.comparison._study import local_workers as local
from ravine.comparison._study import location as place
from ravine.comparison._study.declare import declare
from ravine.comparison._study.stages import Stage, confirmed
from ravine.comparison._study.step_seconds import Seconds, measure
from ravine.comparison._study.store import Store, check, hidden
from ravine.comparison._study.study_record import About, StudyRecord
from ravine.comparison._study.study_spec import Spec
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
        check(storage)
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
    for arm in spec.arms:  # what cannot work is said before a folder is made, and kernels are compiled once
        dry_run(found, by_label[arm.label].at(arm.middle))
    where = place.choose(found.name, study, storage, None if out is None else Path(out))
    store = Store(where.study, where.storage)
    try:
        store.begin(spec)
        again = "" if isinstance(task, Task) else command(spec, where, space, jobs)
        try:
            with View(spec) if not quiet else nullcontext() as view:
                look = view.look if view is not None else lambda now, done: None
                together = jobs or local.cores()
                if isinstance(task, Task) or together == 1:
                    stage = work(store, spec, found, look, optimizers=by_label)
                else:
                    stage = local.run(store, spec, together, look, None if data is None else Path(data))
                seconds, machine = _seconds(store, spec, found, by_label, stage)
        except (KeyboardInterrupt, RavineError) as stopped:
            with suppress(RavineError):  # the storage may be what failed
                stopped.add_note(f"{len(store.done())} trainings are done and kept.{again and f' Go on: {again}'}")
            raise
        about = About(where.study, hidden(where.storage), again, machine)
        result = Result(StudyRecord(spec, store.done(), seconds, about, by_label), where.folder)
    finally:
        store.close()
    _check(result)
    return result


def command(spec: Spec, where: place.Place, space: str | Path | None = None, jobs: int | None = None) -> str:
    """The command line that makes the study of this spec, or goes on with it; without a password."""
    words = ["ravine", "compare", spec.task]
    for arm in spec.arms:
        words += ["-o", arm.label]
    words += ["--points", str(spec.points), "--seeds", str(spec.seeds), "--steps", str(spec.steps)]
    given = {
        "schedule": spec.schedule,
        "reference": spec.reference,
        "data": spec.data,
        "space": space,
        "jobs": jobs,
        "study": where.study,
        "out": where.folder if where.folder != place.usual(where.study) else "",
        "storage": hidden(where.storage) if where.storage != str(where.folder / place.JOURNAL) else "",
    }
    return shlex.join([*words, *(word for name, value in given.items() if value for word in (f"--{name}", str(value)))])


def _seconds(
    store: Store, spec: Spec, task: Task, optimizers: Mapping[str, specs.OptimizerSpec], now: Stage
) -> tuple[dict[str, Seconds], str]:
    """Seconds of a step and the machine they were measured on: kept, so that a report made again says the same."""
    kept = store.kept(_SECONDS)
    if kept is None:
        done = store.done()
        sound = {
            label: point
            for label, point in now.chosen.items()
            if any(not outcome.error for outcome in confirmed(spec, label, point, done))
        }
        found = measure(task, optimizers, sound)
        kept = {"machine": _machine(), "steps": {label: [s.step, s.share] for label, s in found.items()}}
        store.keep(_SECONDS, kept)
    return {label: Seconds(*pair) for label, pair in kept["steps"].items()}, kept["machine"]


def _machine() -> str:
    """The processor, the threads, the system."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {local.cores()} threads, {platform.system()}, Python {platform.python_version()}"


def _check(result: Result) -> None:
    """Refuse a study in which no confirmation gave a loss.

    Raises:
        TrainingError: none did; the last line of a traceback is in the text.
    """
    outcomes = list(result.outcomes.values())
    errors = [outcome.error for outcome in outcomes if outcome.error]
    if any(not run.diverged for arm in result.record.arms for run in arm.runs):
        return
    if errors:
        last = errors[-1].strip().rpartition("\n")[2]
        raise TrainingError(
            f"{len(errors)} of {len(outcomes)} trainings failed, and no optimizer is left to judge: {last}"
        )
    raise TrainingError(
        "Every optimizer diverged with all fresh seeds, so there is nothing to judge. Search lower rates (--space)."
    )
