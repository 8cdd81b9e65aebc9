"""Runs a study on this machine: worker processes that share its store, and a view of how far they are."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ravine.comparison._study.stages import Stage, stage
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import Spec
from ravine.comparison._study.trial_worker import PARENT, Look
from ravine.errors import TrainingError

_LOOK = 0.25  # seconds between two looks at the store
_END = 10.0  # seconds that a worker has to end by itself


def cores() -> int:
    """How many trials can run at a time on this machine: its processors, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(store: Store, spec: Spec, jobs: int, on_look: Look, data: Path | None = None) -> Stage:
    """Run the study with so many worker processes until it is done.

    Args:
        store, spec: the study; it has been begun.
        jobs: how many trials run at a time; each takes one thread.
        on_look: called a few times a second with the stage and what is done.
        data: the folder or file with the task's data.

    Raises:
        TrainingError: a worker ended with an error, or all of them were killed. What is done is kept.
        KeyboardInterrupt: Ctrl-C; the workers are ended, and what is done is kept.
    """
    with _workers(store, jobs, data) as workers:
        while True:
            done = store.done()
            now = stage(spec, done)
            on_look(now, done)
            if now.name == "done":
                return now
            for worker in workers:
                if (worker.process.poll() or 0) > 0:
                    raise TrainingError(f"A worker ended: {worker.last_words() or worker.process.returncode}")
            ended = [worker.process.poll() for worker in workers]
            if None not in ended and stage(spec, store.done()).name != "done":  # one that is left goes on alone
                signals = sorted({-code for code in ended if code})
                told = f"were killed (signal {signals[0]}); is the memory full?" if signals else "ended too early."
                raise TrainingError(f"All workers {told}")
            time.sleep(_LOOK)


@dataclass(frozen=True)
class _Worker:
    """A worker process of one thread, and the file that it complains to: a pipe nobody empties would stop it."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]

    def last_words(self) -> str:
        self.said.seek(0)
        return self.said.read().decode(errors="replace").strip().rpartition("\n")[2]


@contextmanager
def _workers(store: Store, jobs: int, data: Path | None) -> Iterator[Sequence[_Worker]]:
    """Worker processes, which end when this ends."""
    where = store.where if "://" in store.where else str(Path(store.where).resolve())
    command = [sys.executable, "-m", "ravine", "worker", "--study", store.name, "--quiet"]
    command += [] if data is None else ["--data", str(data)]
    # the storage may have a password, which a command line would show to everybody
    environment = {
        **os.environ,
        "RAVINE_STORAGE": where,
        PARENT: str(os.getpid()),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    workers: list[_Worker] = []
    with ExitStack() as opened:
        try:
            for _ in range(jobs):
                said = opened.enter_context(tempfile.TemporaryFile())
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=environment)
                workers.append(_Worker(process, said))
            yield workers
        finally:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                try:
                    worker.process.wait(_END)
                except subprocess.TimeoutExpired:  # in the middle of a long batch: its trial is taken up again
                    worker.process.kill()
                    worker.process.wait()
