"""Options that several subcommands share."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from ravine.tasks import describe

ONE_OPTIMIZER = click.option(
    "-o",
    "--optimizer",
    "specs",
    multiple=True,
    default=["rmsprop"],
    show_default=True,
    metavar="NAME[:key=value,...]",
    help="The optimizer, such as rmsprop:alpha=0.9, torch-adam, or your own: my_rule.py:MyRule.",
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
