"""Looks at a task's data before anything is trained: rows that are no numbers, and whether it is the same data each time."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from ravine import _randomness as randomness
from ravine.errors import DataError
from ravine.tasks._catalog import find
from ravine.tasks._task import Task
from ravine.tasks._task_data import TaskData, take
from ravine.train import _evaluate as evaluation
from ravine.train._broadcasting import ADVICE, sentence, shapes_of
from ravine.train._data_content import NOT_THE_SAME, fingerprint, nonfinite, nonfinite_rows
from ravine.train._forward import ForwardPass

_TRIED = 64  # rows with NaN of which the loss is computed


def content(task: Task) -> str:
    """A short name of the content of all its data; empty where nothing is known of it."""
    return fingerprint(task.train, task.test, *([] if task.valid is None else [task.valid]))


def find_same(name: str, data: Path | None) -> tuple[Task, str]:
    """The task of that name, and a short name of its data; a user's function is called twice, to see that it draws nothing new.

    Raises:
        DataError: it gives other data each time.
    """
    before = content(find(name, data)) if name.endswith(".py") else ""
    task = find(name, data)
    now = content(task)
    if before and before != now:
        raise DataError(
            f"The task in {name} gives other data each time it is made, so every process, and every run that is resumed, would "
            f"train on rows that another one tests on. {NOT_THE_SAME}"
        )
    return task, now


def check_numbers(task: Task) -> None:
    """Refuse data whose NaN or infinity makes the loss so, whatever the weights: no training could end well.

    Raises:
        DataError: some rows do; they are named.
    """
    for name, part in (("training", task.train), ("test", task.test), ("validation", task.valid)):
        places = "" if part is None else nonfinite(part)
        if places and not math.isfinite(loss := _loss_on(task, part)):
            raise DataError(
                f"The {name} data of {task.name} have NaN or infinity in the {places}, and the loss there is {loss} with any "
                "weights. Fill or remove them: no optimizer is at fault."
            )


def broadcasting(task: Task) -> str:
    """That the loss broadcasts outputs against targets, in a sentence with what to write; empty if it does not."""
    try:
        with randomness.isolated():
            learn = task.learner(quiet=True)
            inputs, targets = next(iter(learn.train))
            outputs = learn.predict([(inputs, targets)])
        shapes = shapes_of(learn.loss_func, outputs, targets)
    except Exception:  # it is raised again where the task is tried
        return ""
    return f"{sentence(*shapes)} {ADVICE}" if shapes else ""


def _loss_on(task: Task, part: TaskData) -> float:
    """The loss of a new model on the rows that are no numbers; 0 where it cannot be computed."""
    try:
        with randomness.isolated():
            chosen = torch.tensor(nonfinite_rows(part)[:_TRIED])
            forward = ForwardPass(task.start(0))
            return evaluation.evaluate(forward, {evaluation.LOSS: task.loss}, task.in_order(take(part, chosen)))[
                evaluation.LOSS
            ]
    except Exception:  # it is raised again where the task is tried
        return 0.0
