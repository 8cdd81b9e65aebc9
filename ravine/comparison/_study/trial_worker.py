"""Takes trials from the store and runs them until none is needed: one process, one thread."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from ravine.comparison._study.code_versions import load_optimizers
from ravine.comparison._study.heartbeats import heartbeats
from ravine.comparison._study.stages import Results, Stage, stage_after
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial
from ravine.comparison._study.trial_claim import Claim
from ravine.comparison._study.trial_runner import TrialRunner
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task

_WAIT = 0.05  # seconds, where all that is needed now is being done by others

#: The environment variable with the process that a worker works for: without it, it ends.
PARENT = "RAVINE_PARENT"

ProgressCallback = Callable[[Stage, Results], None]
"""Called with the stage that a study is in and the results so far."""


class StopSignal:
    """A handler of signals that end a worker: at once while it trains, otherwise before its next trials.

    An exception in the middle of a write to the store could leave a lock behind.
    """

    def __init__(self) -> None:
        self._requested: BaseException | None = None
        self._training = False

    def __call__(self, number: int, _: object) -> None:
        self._requested = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if self._training:
            raise self._requested

    def check(self) -> None:
        """Raise what a signal has requested, or end where the process that this one works for was killed."""
        if PARENT in os.environ and os.environ[PARENT] != str(os.getppid()):
            raise SystemExit(0)
        if self._requested is not None:
            raise self._requested

    @contextmanager
    def training(self) -> Iterator[None]:
        """While this lasts, a signal raises."""
        self._training = True
        try:
            self.check()
            yield
        finally:
            self._training = False


def work(
    store: Store,
    spec: StudySpec,
    task: Task,
    on_progress: ProgressCallback = lambda now, results: None,
    stop: StopSignal | None = None,
    optimizers: Mapping[str, OptimizerSpec] | None = None,
) -> Stage:
    """Run trials until the study is done.

    Args:
        store, spec: the study.
        task: the spec's.
        on_progress: called with the stage and the results so far, before each trial.
        stop: the handler of the signals that end this process.
        optimizers: the spec's by label, if they are loaded already.

    Returns:
        The last stage.

    Raises:
        DataError: a file of the user's own is not the one that the study was made with.
        BaseException: what is no failure of a trial, such as KeyboardInterrupt; its trials are free for others.
    """
    stop = stop or StopSignal()
    loaded = load_optimizers(spec) if optimizers is None else optimizers  # else every trial would be kept as a failure
    ready = {label: optimizer.for_task(task.name) for label, optimizer in loaded.items()}
    runner = TrialRunner(spec, task, ready)
    store.patience.while_waiting = stop.check
    now: Stage | None = None
    while True:
        stop.check()
        results = store.results()
        now = stage_after(spec, now, results)
        on_progress(now, results)
        if now.name == "done":
            return now
        claimed = store.claim_block(now.trials, spec, runner.next_block)
        if not claimed:
            time.sleep(_WAIT)
            continue
        with heartbeats(claim for _, claim in claimed):
            try:
                with stop.training():
                    made = runner.run(
                        [trial for trial, _ in claimed], partial(_ended, {id(trial): claim for trial, claim in claimed})
                    )
                while claimed:
                    claimed[0][1].finish(made.pop(0))
                    claimed.pop(0)
            except BaseException:
                for _, claim in claimed:
                    claim.release()
                raise


def _ended(claims: Mapping[int, Claim], trial: Trial) -> bool:
    """Whether somebody has ended a trial. It is asked of 32 trials after each of their steps: claims are by the trial's ``id``."""
    return claims[id(trial)].ended
