"""Runs a study on this machine: worker processes that share its store, and a view of how far they are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ravine.comparison.study.protocol import Stage, stage
from ravine.comparison.study.spec import Spec
from ravine.comparison.study.store import Store
from ravine.errors import TrainingError

_LOOK = 0.25  # seconds between two looks at the store


def run(store: Store, spec: Spec, jobs: int, on_look: Callable[[Stage, int], None], data: Sequence[str] = ()) -> Stage:
    """Run the study with so many worker processes until it is done.

    Args:
        store, spec: the study; it has been begun.
        jobs: how many trials run at a time; each takes one thread.
        on_look: called a few times a second with the stage and the number of trials that are done.
        data: options of ``ravine worker`` beside the study's.

    Raises:
        TrainingError: a worker ended with an error; what it said is in the text. What is done is kept.
        KeyboardInterrupt: Ctrl-C; the workers are ended, and what is done is kept.
    """
    workers = [_worker(store, data) for _ in range(jobs)]
    try:
        while True:
            done = store.done()
            now = stage(spec, done)
            on_look(now, len(done))
            if now.name == "done":
                return now
            for worker in workers:
                if worker.poll() not in (None, 0):
                    said = (worker.stderr.read() if worker.stderr else b"").decode(errors="replace").strip()
                    raise TrainingError(f"A worker ended: {said.rpartition(chr(10))[2] or worker.returncode}")
            time.sleep(_LOOK)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.communicate()


def _worker(store: Store, data: Sequence[str]) -> subprocess.Popen[bytes]:
    """A worker process of one thread."""
    where = store.where if "://" in store.where else str(Path(store.where).resolve())
    command = [sys.executable, "-m", "ravine", "worker", "--study", store.name, "--storage", where, "--quiet", *data]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
