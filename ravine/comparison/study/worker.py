"""Takes trials from the store and runs them until none is needed: one process, one thread, one trial at a time."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from ravine.comparison.study.protocol import Stage, stage
from ravine.comparison.study.spec import Spec
from ravine.comparison.study.store import Store
from ravine.comparison.study.trial import Outcome, run
from ravine.comparison.study.versions import check
from ravine.tasks import Task

_WAIT = 0.2  # seconds, where all that is needed now is being done by others


def work(store: Store, spec: Spec, task: Task, on_trial: Callable[[Stage], None] = lambda _: None) -> Stage:
    """Run trials until the study is done.

    Args:
        store, spec: the study.
        task: the spec's.
        on_trial: called with the stage before each trial.

    Returns:
        The last stage.

    Raises:
        DataError: a file of the user's own is not the one that the study was made with.
    """
    check(spec)  # else every trial would be kept as a failure
    while True:
        now = stage(spec, store.done())
        on_trial(now)
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
        claim.finish(outcome)
