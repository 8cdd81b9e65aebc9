"""A comparison as JSON: everything needed to draw it again or to run it again.

Strictly valid JSON: a number that is not finite is written as null (``diverged_at`` tells which training
that was).
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

import ravine
from ravine.compare.run import Result
from ravine.tasks import Task

_MOST_POINTS = 1000  # of a curve: enough for any picture, and a file that opens at once


def to_json(task: Task, results: Sequence[Result], *, seed: int, epochs: int, interrupted: bool) -> bytes:
    """The results as a JSON document in UTF-8.

    Args:
        task, seed, epochs: what was run.
        results: the contenders that were trained, in the order they were.
        interrupted: whether others were left out because the user stopped the run.
    """
    document = {
        "ravine": ravine.__version__,
        "torch": torch.__version__,
        "task": task.name,
        "seed": seed,
        "epochs": epochs,
        "batch_size": task.batch_size,
        "steps_per_epoch": task.steps_per_epoch,
        "interrupted": interrupted,
        "contenders": [_contender(result) for result in results],
    }
    return json.dumps(plain(document), separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _contender(result: Result) -> dict[str, Any]:
    kept = thinned(len(result.losses))
    contender: dict[str, Any] = {
        "spec": result.contender.label,
        "optimizer": result.contender.name,
        "class": f"{result.contender.cls.__module__}.{result.contender.cls.__qualname__}",
        "options": result.options,
        "lr": result.options.get("lr"),
        "train_loss": result.train_loss,
        "test_loss": result.test_loss,
        **result.metrics,
        "seconds_per_epoch": result.seconds_per_epoch,
        "step_share": result.step_share,
        "steps": len(result.losses),
        "diverged_at": result.diverged_at,
        "curve": {"step": [i + 1 for i in kept], "loss": [result.losses[i] for i in kept]},
    }
    if result.path is not None:
        steps = thinned(len(result.path))
        contender["path"] = {"step": steps, "point": [result.path[i] for i in steps]}
    return contender


def thinned(length: int) -> list[int]:
    """At most 1001 of the indices below ``length``, evenly spaced, with the first and the last."""
    every = -(-length // _MOST_POINTS)
    kept = list(range(0, length, max(every, 1)))
    if length and kept[-1] != length - 1:
        kept.append(length - 1)
    return kept


def plain(value: Any) -> Any:
    """The value in JSON's types: tuples as lists, tensors of one element as numbers, NaN and inf as None."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return repr(value)
