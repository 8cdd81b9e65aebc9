"""``ravine lr-find``: sweeps the learning rate on a task and suggests one."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click
import torch

import ravine
from ravine import _files as files
from ravine.cli._options import DATA, ONE_OPTIMIZER, OUT, SEED, WholeInRange, WithTasks, one_optimizer
from ravine.cli._out_folder import say_written
from ravine.cli._screen import say
from ravine.optim._spec import parse
from ravine.tasks import find
from ravine.tasks._dry_run import dry_run
from ravine.train import _run_folder as run_folder

_HELP = """Find a learning rate for TASK.

Trains with a learning rate that rises at every step, several times with the data in different orders, and suggests
rates from the fall of the loss. TASK is one of those below, or a Python file with a function that returns a Task. Writes lr_find.png,
lr_find.json and config.json to the folder ravine-out/lr-find-TASK.
"""


@click.command(name="lr-find", help=_HELP, cls=WithTasks)
@click.argument("task")
@ONE_OPTIMIZER
@click.option("--start", type=float, default=1e-7, show_default=True, help="Lowest learning rate.")
@click.option("--end", type=float, default=10.0, show_default=True, help="Highest learning rate.")
@click.option("--steps", type=int, default=100, show_default=True, help="Number of learning rates.")
@click.option(
    "--orders",
    type=WholeInRange(min=1),
    default=3,
    show_default=True,
    help="Number of sweeps, each with another order of the data.",
)
@SEED
@DATA
@OUT
def command(
    task: str,
    specs: tuple[str, ...],
    start: float,
    end: float,
    steps: int,
    orders: int,
    seed: int,
    data: Path | None,
    out: Path | None,
) -> None:
    spec = one_optimizer(specs)
    chosen = find(task, data)
    optimizer = parse(spec, chosen.name)
    dry_run(chosen, optimizer)
    learn = chosen.learner(partial(optimizer.factory, **optimizer.options), seed=seed)
    torch.manual_seed(seed)
    result = learn.lr_find(start, end, steps, orders)
    folder = files.claim(out, False) if out else files.fresh(Path("ravine-out") / f"lr-find-{Path(task).stem}")
    say(str(result))
    config = {
        "task": task,
        "optimizer": spec,
        "start": start,
        "end": end,
        "steps": steps,
        "orders": orders,
        "seed": seed,
    }
    versions = {"ravine": ravine.__version__, "torch": torch.__version__}
    run_folder.write_config(folder, {**config, "data": None if data is None else str(data.resolve()), **versions})
    files.write(folder / "lr_find.json", json.dumps(result.to_dict(), allow_nan=False).encode() + b"\n")
    result.plot(folder / "lr_find.png", f"{chosen.name}: {optimizer.label}, learning-rate finder")
    say_written(["lr_find.png", "lr_find.json", "config.json"], folder, "lr_find.png")
