"""``ravine train``: trains a task with an optimizer, shows every epoch, and resumes a run that was stopped."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import torch
from click.core import ParameterSource

from ravine import _files as files
from ravine._live.serving import check_packages
from ravine._written_alike import alike
from ravine.cli._diagnose import first_finding
from ravine.cli._interrupted import say_interrupted
from ravine.cli._live_beside import show_live
from ravine.cli._options import DATA, ONE_OPTIMIZER, OUT, SEED, WholeInRange, WithTasks, one_optimizer
from ravine.cli._out_folder import say_written
from ravine.cli._screen import say
from ravine.cli._train_head import CONSTANT, INDENT, ONE_CYCLE, Setup
from ravine.comparison._study.trial import validation_split
from ravine.diagnose import diagnose
from ravine.errors import OptionError, RavineError
from ravine.optim import _spec as specs
from ravine.tasks import Task, find
from ravine.tasks._dry_run import dry_run, threads_for
from ravine.train import BestCheckpoint, StopOnNaN
from ravine.train import _parallel as parallel
from ravine.train import _run_folder as run_folder
from ravine.train._interrupt import StoppedTogether
from ravine.train._learner import Learner
from ravine.train._schedules.by_text import parse as parse_schedule
from ravine.train._schedules.by_text import usage as schedule_forms
from ravine.train._summary import test_line

_NOT_STORED = {"out", "resume", "find_nonfinite", "live"}

_HELP = """Train TASK and show every epoch.

TASK is one of those below, or a Python file with a function that returns a Task. A fifth of its training rows is held
out for validation, and the test set is read once, at the end. Writes metrics.jsonl, config.json, checkpoint.safetensors,
best.safetensors and loss.png to the folder ravine-out/train-TASK.

With torchrun, several processes each train on a part of every batch:
torchrun --nproc-per-node 2 -m ravine train TASK
"""


@click.command(name="train", help=_HELP, cls=WithTasks)
@click.argument("task")
@ONE_OPTIMIZER
@click.option("--lr", type=float, help="Learning rate; with --one-cycle the highest one. Default: the task's.")
@click.option("--epochs", type=WholeInRange(min=1), help="Number of epochs. Default: the task's.")
@click.option("--one-cycle", is_flag=True, help="One cycle: the rate rises and falls while momentum falls and rises.")
@click.option(
    "--schedule",
    metavar="NAME:ARGUMENTS",
    help=f"How the learning rate changes: {', '.join(schedule_forms())}.",
)
@click.option(
    "--checkpoint-every",
    type=WholeInRange(min=1),
    metavar="STEPS",
    help="Write a checkpoint every STEPS steps, not only after every epoch.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Resume the run in --out, or the task's last one. The options are stored with the run; with more --epochs it trains longer.",
)
@click.option(
    "--find-nonfinite",
    is_flag=True,
    help="Stop at a NaN or infinity in loss or gradients, and name the module that it came from.",
)
@click.option(
    "--live", is_flag=True, help="Show the training on a page in the browser while it runs, as `ravine live` does."
)
@SEED
@click.option(
    "--threads",
    type=WholeInRange(1, max(64, os.cpu_count() or 1)),
    help="CPU threads. Default: 1 for a model so small that more threads would slow it down.",
)
@DATA
@OUT
@click.pass_context
def command(context: click.Context, **given: Any) -> None:
    given["optimizer"] = one_optimizer(given.pop("specs"))
    if given["one_cycle"] and given["schedule"]:
        raise click.UsageError("--one-cycle and --schedule both change the rate; give one of them.")
    if given["live"]:
        check_packages()
    try:
        parallel.start()
        finite = _train(given, _named(context))
    except StoppedTogether as stopped:
        parallel.meet()  # as soon as one process has ended torchrun may end the others, and any code but 0 is a failure to it
        if parallel.is_main():
            say_interrupted(stopped, sys.argv[1:])
        return
    finally:
        parallel.leave()
    if not finite:
        context.exit(1)


def _train(given: dict[str, Any], named: set[str]) -> bool:
    """Train; returns whether the last loss is finite."""
    wanted = Path("ravine-out") / f"train-{_label(given['task'])}"
    if given["resume"]:
        folder = parallel.broadcast(lambda: given["out"] or run_folder.newest(wanted))
        given = _resumed(given, named, run_folder.read_config(folder), folder)
    config = {name: _plain(value) for name, value in given.items() if name not in _NOT_STORED}
    task = find(given["task"], given["data"])
    lr = _rate(given["lr"])
    if given["resume"] and "lr" not in specs.parse(given["optimizer"], task.name).all_options:
        lr = None  # it has a rate that nobody can give
    optimizer = specs.parse(given["optimizer"], task.name, lr)
    options = dict(optimizer.options)
    if lr is not None and options["lr"] != lr:
        raise OptionError(f"{optimizer.label} and --lr {lr:g} both set the learning rate; leave out one of them.")
    if given["schedule"]:
        parse_schedule(given["schedule"])
    schedule = None if given["schedule"] == CONSTANT else given["schedule"]
    operations = dry_run(task, optimizer)
    torch.set_num_threads(given["threads"] or threads_for(operations))
    epochs = given["epochs"] or task.epochs
    if not given["resume"]:
        folder = parallel.broadcast(lambda: files.claim(given["out"], False) if given["out"] else files.fresh(wanted))
    opt_func = partial(optimizer.factory, **options)
    training, held_out = validation_split(task, given["seed"])
    callbacks = [StopOnNaN(), BestCheckpoint(restore=False)]
    learn = replace(training, test=held_out).learner(opt_func, seed=given["seed"], folder=folder, callbacks=callbacks)
    torch.manual_seed(given["seed"] + parallel.rank())  # dropout and the like, in each process its own
    how_rate_changes = ONE_CYCLE if given["one_cycle"] else schedule or CONSTANT
    setup = Setup(
        task, learn, optimizer, held_out, epochs, how_rate_changes, given["seed"], folder, resumes=given["resume"]
    )
    if parallel.is_main():
        if not given["resume"]:
            run_folder.write_config(folder, setup.config(config))
        with contextlib.suppress(OSError):  # a training goes on where it cannot be shown; the table of epochs warns
            say(setup.text(), indent=INDENT)
        if given["live"]:
            show_live([str(folder)])
    how = {
        "checkpoint_every": given["checkpoint_every"] or "epoch",
        "resume": given["resume"],
        "find_nonfinite": given["find_nonfinite"],
    }
    with _resumable(given["task"], folder):
        try:
            if given["one_cycle"]:
                learn.fit_one_cycle(epochs, _top(options, optimizer.label), **how)
            else:
                learn.fit(epochs, schedule=schedule, **how)
        except BaseException:
            # what ended the run is what is shown, also where the picture fails, or a second Ctrl-C comes while it is drawn
            with contextlib.suppress(RavineError, KeyboardInterrupt):
                _show(learn, task, optimizer.label, folder)
            raise
        finally:
            if given["resume"] and len(learn.recorder) and parallel.is_main():  # with the epochs that it now has
                run_folder.write_config(folder, setup.config(config))
        finite = not len(learn.recorder) or math.isfinite(learn.recorder.losses[-1])
        tested = _tested(learn, task) if finite and task.surface is None else ""
        _show(learn, task, optimizer.label, folder, tested)
    return finite


@contextlib.contextmanager
def _resumable(task: str, folder: Path) -> Iterator[None]:
    """Whatever Ctrl-C ends here, it is said how the run goes on."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(f"Resume: {shlex.join(['ravine', 'train', task, '--resume', '--out', str(folder)])}")
        raise


def _tested(learn: Learner, task: Task) -> str:
    """Read the test set, and record what the model does on it: that line."""
    measured = learn.validate(task.in_order(task.test))
    line = test_line(measured, getattr(task.test, "targets", None), learn.state.epoch)
    # a complete run that is resumed is tested again
    if parallel.is_main() and line not in (text for _, text in learn.recorder.notes):
        learn.recorder.note(line)
    return line


def _named(context: click.Context) -> set[str]:
    """The options that are on the command line."""
    names = {n for n in context.params if context.get_parameter_source(n) is not ParameterSource.DEFAULT}
    return {"optimizer" if name == "specs" else name for name in names}


def _same_optimizer(now: str, then: str | None) -> bool:
    """Whether two texts name one optimizer with the same options."""
    if then is None or now == then:
        return now == then
    try:
        one, other = specs.parse(now), specs.parse(then)
    except RavineError:
        return False
    return one.factory is other.factory and alike(one.all_options, other.all_options)


def _resumed(given: Mapping[str, Any], named: set[str], config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The options of the run that is resumed; those on the command line must be the same."""
    for name in sorted(named - _NOT_STORED):
        now, then = _plain(given[name]), config.get(name)
        longer = name == "epochs" and now > (then or 0)  # what it needs to go on is checked where its schedule is known
        same = _same_optimizer if name == "optimizer" else operator.eq if name in ("task", "data") else alike
        if not same(now, then) and not longer:
            option = {"optimizer": "-o", "task": "the task"}.get(name, "--" + name.replace("_", "-"))
            differs = f"has {option} {then}, not {now}" if then is not None else f"was started without {option}"
            instead = f"Write ravine train {shlex.quote(str(then))} --resume" if name == "task" else "Leave it out"
            raise OptionError(f"The run in {folder} {differs}. {instead} to resume that run.")
    if config.get("processes", 1) != parallel.size():
        raise OptionError(
            f"The run in {folder} was trained by {config.get('processes', 1)} processes, not {parallel.size()}."
        )
    stored = {name: config.get(name, value) for name, value in given.items() if name not in _NOT_STORED}
    if "epochs" in named:
        stored["epochs"] = given["epochs"]
    stored["data"] = None if stored["data"] is None else Path(stored["data"])
    for name, standing in (("schedule", ONE_CYCLE), ("checkpoint_every", "epoch")):
        stored[name] = None if stored[name] == standing else stored[name]
    return {**given, **stored}


def _show(learn: Learner, task: Task, label: str, folder: Path, tested: str = "") -> None:
    """Write the plots, and say what the test gave and where everything is."""
    if not parallel.is_main() or not len(learn.recorder):
        return
    positive = bool((learn.recorder.losses > 0).all())
    scale: Literal["linear", "log"] = "log" if positive else "linear"
    learn.recorder.plot_loss(label=label, scale=scale, title=f"{task.name}: loss", path=folder / "loss.png")
    written = ["loss.png"]
    if any(len(set(map(str, learn.recorder.hyper(name).tolist()))) > 1 for name in learn.recorder.hyper_names):
        learn.recorder.plot_schedule(
            title=f"{task.name}: {label}, hyperparameters of each step", path=folder / "schedule.png"
        )
        written.append("schedule.png")
    names = ("metrics.jsonl", "config.json", "checkpoint.safetensors", "best.safetensors", "watch.safetensors")
    if tested:
        say(tested)
    say_written([*(n for n in names if (folder / n).exists()), *written], folder, "loss.png")
    if parallel.size() == 1 and (finding := first_finding(diagnose(learn), folder)):
        say(finding)


def _label(task: str) -> str:
    """The task's name in the name of a folder; of a file, without its ending."""
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
