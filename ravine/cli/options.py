"""Options that several subcommands share, and the first step that shows whether they can work."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click
from torch.utils.flop_counter import FlopCounterMode

from ravine import randomness
from ravine.compare.contenders import Contender, one_line
from ravine.errors import RavineError, TrainingError
from ravine.tasks import Task, describe
from ravine.train.sweep import by_batch

ONE_OPTIMIZER = click.option(
    "-o",
    "--optimizer",
    "specs",
    multiple=True,
    default=["rmsprop"],
    show_default=True,
    metavar="NAME[:key=value,...]",
    help="The optimizer, such as rmsprop:alpha=0.9 or torch-adam.",
)
SEED = click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Decides the initial weights and the order of the data.",
)
DATA = click.option("--data", type=click.Path(path_type=Path), help="The folder or file with the task's data.")
OUT = click.option("--out", type=click.Path(path_type=Path), help="The folder to write to.")


def tasks_text() -> str:
    """What each task is, for the end of a help text."""
    lines = (textwrap.fill(f"{name}: {line}", 76, subsequent_indent="    ") for name, line in describe().items())
    return "\b\nTasks:\n" + textwrap.indent("\n".join(lines), "  ")


def one_optimizer(specs: tuple[str, ...]) -> str:
    """The one that was given.

    Raises:
        UsageError: there are several.
    """
    if len(specs) > 1:
        raise click.UsageError(f"-o is given {len(specs)} times; `ravine compare` trains with several optimizers.")
    return specs[0]


def rehearse(task: Task, contender: Contender) -> int:
    """One step and a look at test data with a model that is thrown away; what fails is said before a folder is made.

    Returns:
        The step's floating-point operations.

    Raises:
        TrainingError: model, loss, data and optimizer do not fit each other.
        OptionError: the optimizer cannot be made.
    """
    count: Any = FlopCounterMode(display=False)
    try:
        with randomness.aside():
            learn = task.learner(contender.build, quiet=True)
            with count:
                next(by_batch(learn))
            learn.validate([next(iter(task.batches()[1]))])
    except RavineError:
        raise
    except Exception as error:  # whatever a model, a loss or an optimizer raises
        raise TrainingError(
            f"A first step of {contender.label} on {task.name} fails: {type(error).__name__}: {one_line(error)}"
        ) from error
    operations: int = count.get_total_flops()
    return operations
