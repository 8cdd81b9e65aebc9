"""``ravine worker``: runs trials of a study that others, on this or other machines, may work on too."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import click

from ravine.cli._options import DATA
from ravine.cli._screen import say
from ravine.comparison._live_view import doing
from ravine.comparison._study.code_versions import check_content, load_optimizers
from ravine.comparison._study.location import Location
from ravine.comparison._study.stages import Results, Stage
from ravine.comparison._study.storage_errors import check_storage, without_password
from ravine.comparison._study.store import Store
from ravine.comparison._study.stored_study import studies_of_tasks
from ravine.comparison._study.study_progress import progress_of
from ravine.comparison._study.study_record import StudyRecord
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.comparison._study.trial_worker import PARENT, StopSignal, work
from ravine.errors import DataError, OptionError
from ravine.tasks import Task, find

_HELP = """Run trials of a study until it is complete.

Any number of workers, on any number of machines, can work on one study: they share its trials through the storage. If a
worker is killed, another takes over its trial. Create the study with `ravine compare --study NAME --storage URL`. If it
uses a task or an optimizer from a Python file, start the worker in the folder where that file was named, with the same
file.
"""


@click.command(name="worker", help=_HELP)
@click.option("--study", required=True, metavar="NAME", help="Name of the study.")
@click.option(
    "--storage",
    required=True,
    metavar="URL",
    envvar="RAVINE_STORAGE",
    help="postgresql://..., or the path of a journal file.",
)
@click.option(
    "--rerun",
    metavar="KEY",
    help="Repeat the training with this key and compare the result; the report lists the keys.",
)
@DATA
@click.option("--quiet", is_flag=True, help="Print nothing.")
def command(study: str, storage: str, rerun: str | None, data: Path | None, quiet: bool) -> None:
    check_storage(storage)
    if "://" not in storage and not Path(storage).is_file():
        raise DataError(f"There is no journal file {storage}; `ravine compare` creates it.")
    # a comparison that has just made the study in it names the study of one task
    tasks = {} if PARENT in os.environ else studies_of_tasks(Location(study, storage, Path()))
    if tasks and rerun is not None:
        raise OptionError(
            f"{study} has several tasks; name the study of one: {', '.join(p.study for p in tasks.values())}."
        )
    for one in [place.study for place in tasks.values()] or [study]:
        _work_on(one, storage, rerun, data, quiet)


def _work_on(study: str, storage: str, rerun: str | None, data: Path | None, quiet: bool) -> None:
    """Run the trials of one task's study, or repeat one."""
    store = Store(study, storage, wait_to_open=PARENT in os.environ)
    spec = store.spec()
    optimizers = load_optimizers(spec)  # before a file is run that is not the study's
    task = find(spec.task, data or (None if spec.data is None else Path(spec.data)))
    check_content(spec, task)
    stop = StopSignal()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if rerun is not None:
            say(_rerun(StudyRecord(spec, store.results(), optimizers=optimizers), task, rerun))
            return
        work(store, spec, task, _ProgressLines(spec, quiet), stop, optimizers)
    except KeyboardInterrupt as interrupt:
        words = ["ravine", "worker", "--study", study, "--storage", without_password(storage)]
        words += [] if data is None else ["--data", str(data)]
        interrupt.add_note(f"Finished trials are saved. Go on: {shlex.join(words)}")
        raise
    finally:
        store.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if not quiet:
        say(f"The study {study} in {without_password(storage)} is complete.")


class _ProgressLines:
    """A line where something has changed: how far the study is, in the words of its report, and what it does."""

    def __init__(self, spec: StudySpec, quiet: bool) -> None:
        self.spec, self.quiet, self.last = spec, quiet, ""

    def __call__(self, now: Stage, results: Results) -> None:
        line = progress_of(self.spec, now, results).sentence
        line += f" {doing(self.spec, now)}." if now.name != "done" else ""
        if not self.quiet and line != self.last:
            say(line)
        self.last = line


def _rerun(record: StudyRecord, task: Task, key: str) -> str:
    """Run one trial again, and say whether it gives what is kept.

    Raises:
        OptionError: there is none with that key.
    """
    by_key = {trial.key(record.spec): (trial, result) for trial, result in record.trials}
    if key not in by_key:
        raise OptionError(
            f"The study has no training {key!r}; the report's table of trials has the keys of all {len(by_key)}."
        )
    trial, kept = by_key[key]
    ready = {label: optimizer.for_task(task.name) for label, optimizer in record.optimizers.items()}
    (now,) = TrialRunner(record.spec, task, ready).run([trial])
    what = ", ".join([trial.label, *(f"{name} {value:g}" for name, value in trial.point.items()), f"seed {trial.seed}"])
    same = [now.score, now.losses, now.metrics] == [kept.score, kept.losses, kept.metrics]
    verdict = "the same to the last digit" if same else f"but {kept.score!r} is stored"
    return f"{what}: validation loss {now.score!r}, {verdict}."
