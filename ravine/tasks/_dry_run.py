"""A first step that is thrown away: it shows whether task and optimizer fit each other, and compiles the kernel."""

from __future__ import annotations

import torch

from ravine import _randomness as randomness
from ravine._compat.torch import OperationCount
from ravine.errors import RavineError, TrainingError
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task

_SMALL = 300e6
"""Floating-point operations of a step, below which one thread is faster than several.

They are counted and not timed, so that a run always has the same number of threads, and so the same result.
"""


def dry_run(task: Task, optimizer: OptimizerSpec) -> int:
    """One step and a look at the test data with a model that is thrown away; what fails is said before a folder is made.

    Returns:
        The step's floating-point operations.

    Raises:
        TrainingError: model, loss, data and optimizer do not fit each other.
        OptionError: the optimizer cannot be made.
    """
    count = OperationCount()
    try:
        with randomness.isolated():
            learn = task.learner(optimizer.build, quiet=True)
            with count:
                learn.dry_run()
            learn.validate([next(iter(task.batches()[1]))])
    except RavineError:
        raise
    except Exception as error:  # whatever a model, a loss or an optimizer raises
        raise TrainingError(
            f"A first step of {optimizer.label} on {task.name} fails: {type(error).__name__}: {optimizer.error_text(error)}"
        ) from error
    return count.total


def threads_for(operations: int) -> int:
    """On how many threads steps of so many floating-point operations are trained: 1, where more would slow them down."""
    return 1 if operations < _SMALL else torch.get_num_threads()
