"""``ravine train``: trains one task with one optimizer, shows every epoch, and can go on where it was stopped."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import torch
from click.core import ParameterSource

import ravine
from ravine import _files as files
from ravine.cli._options import DATA, ONE_OPTIMIZER, OUT, SEED, one_optimizer, tasks_text
from ravine.errors import OptionError, RavineError
from ravine.optim import _spec as specs
from ravine.tasks import Task, find
from ravine.tasks._dry_run import dry_run
from ravine.train import StopOnNaN
from ravine.train import _parallel as parallel
from ravine.train import _pictures as pictures
from ravine.train import _runs as runs
from ravine.train._learner import Learner
from ravine.train._named import parse as parse_schedule
from ravine.train._named import usage as schedule_forms

_SMALL = 300e6
"""Floating-point operations of a step, below which more threads than one take longer to start than they save.

They are counted and not timed, so that a run has the same number of threads, and the same result, each time.
"""
_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
_NOT_KEPT = {"out", "resume", "trace_nan"}

_HELP = """Train TASK and show every epoch.

TASK is one of those below, or a Python file with a function that returns a Task. The folder
ravine-out/train-TASK gets metrics.jsonl, config.json, checkpoint.safetensors and loss.png.

With torchrun several processes train on shares of each batch:
torchrun --nproc-per-node 2 -m ravine train TASK
"""


@click.command(name="train", help=_HELP, epilog=tasks_text())
@click.argument("task")
@ONE_OPTIMIZER
@click.option("--lr", type=float, help="The learning rate; with --one-cycle the highest. Each task has a usual one.")
@click.option("--epochs", type=click.IntRange(min=1), help="How long to train; each task has its usual length.")
@click.option("--one-cycle", is_flag=True, help="Let the rate rise and fall in one cycle, and momentum fall and rise.")
@click.option(
    "--schedule",
    metavar="NAME:ARGUMENTS",
    help=f"How the rate changes: {', '.join(schedule_forms())}.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Write checkpoints more often than by epoch.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out, or with the task's last one.")
@click.option(
    "--trace-nan", is_flag=True, help="Where a loss or gradient is not finite, name the module that it came from."
)
@SEED
@click.option(
    "--threads",
    type=click.IntRange(1, max(64, os.cpu_count() or 1)),
    help="Threads of the processor; without it 1 for a model so small that more would slow it down.",
)
@DATA
@OUT
@click.pass_context
def command(context: click.Context, **given: Any) -> None:
    given["optimizer"] = one_optimizer(given.pop("specs"))
    if given["one_cycle"] and given["schedule"]:
        raise click.UsageError("--one-cycle and --schedule both say how the rate changes; give one.")
    try:
        parallel.start()
        sound = _train(given, _named(context))
    except KeyboardInterrupt:
        context.exit(_INTERRUPTED)
    finally:
        parallel.leave()
    if not sound:
        context.exit(1)


def _train(given: dict[str, Any], named: set[str]) -> bool:
    """Train; whether the last loss is a finite number."""
    wanted = Path("ravine-out") / f"train-{_label(given['task'])}"
    if given["resume"]:
        folder = parallel.agreed(lambda: given["out"] or runs.newest(wanted))
        given = _again(given, named, runs.read_config(folder), folder)
    config = {name: _plain(value) for name, value in given.items() if name not in _NOT_KEPT}
    task = find(given["task"], given["data"])
    contender = specs.parse(given["optimizer"], task.name, _rate(given["lr"]))
    options = dict(contender.options)
    if given["lr"] is not None and options["lr"] != given["lr"]:
        raise OptionError(f"{contender.label} and --lr {given['lr']:g} both give a learning rate; leave out one.")
    if given["schedule"]:
        parse_schedule(given["schedule"])
    operations = dry_run(task, contender)
    torch.set_num_threads(given["threads"] or (1 if operations < _SMALL else torch.get_num_threads()))
    epochs = given["epochs"] or task.epochs
    if not given["resume"]:
        folder = parallel.agreed(lambda: files.claim(given["out"], False) if given["out"] else files.fresh(wanted))
    opt_func = partial(contender.factory, **options)
    learn = task.learner(opt_func, seed=given["seed"], folder=folder, callbacks=[StopOnNaN()])
    torch.manual_seed(given["seed"] + parallel.rank())  # dropout and the like, in each process its own
    if not given["resume"] and learn.main:
        versions = {"ravine": ravine.__version__, "torch": torch.__version__, "processes": parallel.size()}
        runs.write_config(folder, {**config, **versions})
    how = {
        "checkpoint_every": given["checkpoint_every"] or "epoch",
        "resume": given["resume"],
        "trace_nan": given["trace_nan"],
    }
    try:
        if given["one_cycle"]:
            learn.fit_one_cycle(epochs, _top(options, contender.label), **how)
        else:
            learn.fit(epochs, schedule=given["schedule"], **how)
    except BaseException:
        with contextlib.suppress(RavineError):  # what ended the run is what is said
            _show(learn, task, contender.label, folder)
        raise
    _show(learn, task, contender.label, folder)
    return not len(learn.recorder) or math.isfinite(learn.recorder.losses[-1])


def _named(context: click.Context) -> set[str]:
    """What the command line says itself."""
    said = {n for n in context.params if context.get_parameter_source(n) is not ParameterSource.DEFAULT}
    return {"optimizer" if name == "specs" else name for name in said}


def _again(given: Mapping[str, Any], named: set[str], config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the run was told; what the command says beside that must not contradict it."""
    for name in sorted(named - _NOT_KEPT):
        now, then = _plain(given[name]), config.get(name)
        if now != then:
            option = {"optimizer": "-o", "task": "the task"}.get(name, "--" + name.replace("_", "-"))
            told = f"has {option} {then}, not {now}" if then is not None else f"was not given {option}"
            raise OptionError(f"The run in {folder} {told}. Leave it out to go on with that run.")
    if config.get("processes", 1) != parallel.size():
        raise OptionError(
            f"The run in {folder} was trained by {config.get('processes', 1)} processes, not {parallel.size()}."
        )
    kept = {name: config.get(name, value) for name, value in given.items() if name not in _NOT_KEPT}
    kept["data"] = None if kept["data"] is None else Path(kept["data"])
    return {**given, **kept}


def _show(learn: Learner, task: Task, label: str, folder: Path) -> None:
    """The pictures, and where everything is."""
    if not learn.main or not len(learn.recorder):
        return
    positive = bool((learn.recorder.losses > 0).all())
    scale: Literal["linear", "log"] = "log" if positive else "linear"
    pictures.loss({label: learn.recorder}, scale=scale, title=task.name, path=folder / "loss.png")
    written = ["loss.png"]
    if any(len(set(map(str, learn.recorder.hyper(name).tolist()))) > 1 for name in learn.recorder.hyper_names):
        learn.recorder.plot_schedule(path=folder / "schedule.png")
        written.append("schedule.png")
    found = [
        name
        for name in ("metrics.jsonl", "config.json", "checkpoint.safetensors", "watch.safetensors")
        if (folder / name).exists()
    ]
    click.echo(f"Wrote {', '.join([*found, *written])} to {folder}")


def _label(task: str) -> str:
    """The task's name in the name of a folder: that of a file without its ending."""
    return Path(task).stem if task.endswith(".py") else task


def _rate(lr: float | None) -> float | None:
    if lr is not None and not (math.isfinite(lr) and lr > 0):
        raise OptionError(f"--lr {lr:g}: a learning rate is a finite number above 0.")
    return lr


def _top(options: Mapping[str, Any], label: str) -> float:
    if "lr" not in options:
        raise OptionError(f"--one-cycle needs the highest learning rate of {label}: --lr 0.003.")
    return float(options["lr"])


def _plain(value: Any) -> Any:
    return os.fspath(value.resolve()) if isinstance(value, Path) else value
