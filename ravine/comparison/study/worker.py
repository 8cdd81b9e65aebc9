"""Takes trials from the store and runs them until none is needed: one process, one thread, one trial at a time."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from ravine.comparison.study.protocol import Done, Stage, stage
from ravine.comparison.study.spec import Spec
from ravine.comparison.study.store import Store
from ravine.comparison.study.trial import Outcome, run
from ravine.tasks import Task

_WAIT = 0.05  # seconds, where all that is needed now is being done by others

Look = Callable[[Stage, Done], None]


def work(store: Store, spec: Spec, task: Task, on_look: Look = lambda now, done: None) -> Stage:
    """Run trials until the study is done.

    Args:
        store, spec: the study.
        task: the spec's.
        on_look: called with the stage and what is done, before each trial.

    Returns:
        The last stage.

    Raises:
        BaseException: what is no failure of the trial, such as KeyboardInterrupt; the trial is free for others.
    """
    while True:
        done = store.done()
        now = stage(spec, done)
        on_look(now, done)
        if now.name == "done":
            return now
        claimed = store.claim(now.jobs, spec)
        if claimed is None:
            time.sleep(_WAIT)
            continue
        job, claim = claimed
        with claim.alive():
            try:
                outcome = run(spec, task, job)
            except Exception:  # the task's failure is the trial's, and the study goes on
                outcome = Outcome(error=traceback.format_exc())
            except BaseException:
                claim.drop()
                raise
        claim.finish(outcome)
