"""What is said of an option that a command does not have: the nearest, or where what it asks for is set."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CALLED = {
    "learning-rate": "lr", "max-lr": "lr", "alpha": "lr", "optim": "optimizer", "opt": "optimizer", "num-epochs": "epochs",
    "n-epochs": "epochs", "max-epochs": "epochs", "output": "out", "output-dir": "out", "folder": "out", "logdir": "out",
    "log-dir": "out", "save-dir": "out", "data-dir": "data", "dataset": "data", "trials": "points", "n-trials": "points",
    "budget": "points", "num-seeds": "seeds", "repeats": "seeds", "workers": "jobs", "num-workers": "jobs", "scheduler": "schedule",
    "lr-schedule": "schedule", "random-seed": "seed", "num-threads": "threads", "max-steps": "steps", "num-steps": "steps",
}  # fmt: skip
"""What other programs call an option, and its name here in the commands that have it."""

_BATCH_SIZE = "The batch size is the task's: in a task of your own, my_task.py, Task(..., batch_size=64)."
_DEVICE = "A command runs where the task's model is: in a task of your own, my_task.py, Task(model=lambda: Net().to('cuda'), ...)."
_OF_OPTIMIZER = "Numbers of an optimizer stand behind its name: -o rmsprop:lr=0.01,weight_decay=0.001."
_RESUMES = "A study goes on by itself: run the same command again, with the same --study if it had one."
_OF_TASK = "It is the task's: in a task of your own, my_task.py, Task(..., loss=..., metrics={...}, model=...)."
_CLIPPING = "Every optimizer of Ravine's clips by the norm of all gradients: -o rmsprop:clip_norm=1.0."
_ELSEWHERE = {
    **dict.fromkeys(("loss", "loss-fn", "criterion", "metric", "metrics", "model", "arch"), _OF_TASK),
    **dict.fromkeys(("clip", "clip-norm", "clipnorm", "grad-clip", "max-grad-norm", "gradient-clip-val", "clip-grad-norm"), _CLIPPING),
    **dict.fromkeys(("batch-size", "bs", "batch", "batchsize"), _BATCH_SIZE),
    **dict.fromkeys(("device", "gpu", "cuda", "accelerator", "gpus", "use-cuda", "no-cuda"), _DEVICE),
    **dict.fromkeys(
        ("learning-rate", "lr", "weight-decay", "wd", "momentum", "betas", "beta1", "beta2", "eps", "alpha"), _OF_OPTIMIZER
    ),
}  # fmt: skip
"""Where what other programs have as an option is set."""


def answer(option: str, known: Iterable[str]) -> str:
    """The sentence that helps with an option that there is not.

    Args:
        option: what was typed, such as ``--batch-size``.
        known: the options that the command has.
    """
    name = option.lstrip("-").replace("_", "-").lower()
    names = {each.lstrip("-"): each for each in sorted(known) if each.startswith("--")}
    meant = name if name in names else _CALLED.get(name, "")
    if meant in names:
        return f"Did you mean {names[meant]!r}?"
    if name in ("resume", "continue") and "study" in names:
        return _RESUMES
    if name in _ELSEWHERE and "optimizer" in names:  # it steps
        return _ELSEWHERE[name]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.65)
    return f"Did you mean {names[close[0]]!r}?" if close else f"Known: {', '.join(names.values())}."
