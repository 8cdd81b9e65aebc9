"""Runs a study on this machine: worker processes that share its store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ravine.comparison._study.stages import Stage, stage_after
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial_worker import PARENT, ProgressCallback
from ravine.errors import TrainingError

#: Seconds between two reads of the store, and that a worker has to end by itself.
POLL, PATIENCE = 0.25, 10.0


def processors() -> int:
    """How many trials can run at a time on this machine: its processors, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_workers(
    store: Store,
    spec: StudySpec,
    jobs: int,
    on_progress: ProgressCallback,
    data: Path | None = None,
    *,
    start: Callable[..., Any] = subprocess.Popen,
    patience: float = PATIENCE,
) -> Stage:
    """Run the study with so many worker processes until it is done.

    Args:
        store, spec: the study; it has been created.
        jobs: how many trials run at a time; each takes one thread.
        on_progress: called a few times a second with the stage and the results so far.
        data: the folder or file with the task's data.
        start: starts a process.
        patience: seconds that a worker has to end by itself when it is told to.

    Raises:
        TrainingError: a worker ended with an error, or all of them were killed. What is done is kept.
        KeyboardInterrupt: Ctrl-C; the workers are ended, and what is done is kept.
    """
    now: Stage | None = None
    with _workers(store, jobs, data, start, patience) as workers:
        while True:
            results = store.results()
            now = stage_after(spec, now, results)
            on_progress(now, results)
            if now.name == "done":
                return now
            for worker in workers:
                if (worker.process.poll() or 0) > 0:
                    raise TrainingError(f"A worker ended: {worker.last_error_line() or worker.process.returncode}")
            codes = [worker.process.poll() for worker in workers]
            if (
                None not in codes and stage_after(spec, now, store.results()).name != "done"
            ):  # one that is left works on alone
                signals = sorted({-code for code in codes if code})
                raise TrainingError(
                    f"All workers were killed (signal {signals[0]}). Is the memory full?"
                    if signals
                    else "All workers ended too early."
                )
            time.sleep(POLL)


@dataclass(frozen=True)
class _Worker:
    """A worker process of one thread, and its standard error: in a file, since a pipe that nobody empties would stop it."""

    process: subprocess.Popen[bytes]
    stderr: IO[bytes]

    def last_error_line(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]


@contextmanager
def _workers(
    store: Store, jobs: int, data: Path | None, start: Callable[..., Any], patience: float
) -> Iterator[Sequence[_Worker]]:
    """Worker processes, which end when this ends."""
    where = store.where if "://" in store.where else str(Path(store.where).resolve())
    command = [sys.executable, "-m", "ravine", "worker", "--study", store.name, "--quiet"]
    command += [] if data is None else ["--data", str(data)]
    environment = {
        **os.environ,
        "RAVINE_STORAGE": where,  # it may have a password, which a command line would show to everybody
        "PYTHONPATH": os.pathsep.join(
            folder for folder in sys.path if folder
        ),  # what can be imported here, can be there
        PARENT: str(os.getpid()),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    workers: list[_Worker] = []
    with ExitStack() as opened:
        try:
            for _ in range(jobs):
                stderr = opened.enter_context(tempfile.TemporaryFile())
                process = start(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
                workers.append(_Worker(process, stderr))
            yield workers
        finally:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                try:
                    worker.process.wait(patience)
                except subprocess.TimeoutExpired:  # in the middle of a long batch: its trial is taken up again
                    worker.process.kill()
                    worker.process.wait()
