"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ravine.tasks import describe


class WholeInRange(click.IntRange):
    """A whole number from ``min`` to ``max``; what is none is answered in words, not in the mathematics of click."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            ends = f"from {self.min or 0:,}" + (f" to {self.max:,}" if self.max is not None else "")
            self.fail(f"{str(value)!r} is not a whole number {ends}", param, ctx)


ONE_OPTIMIZER = click.option(
    "-o",
    "--optimizer",
    "specs",
    multiple=True,
    default=["rmsprop"],
    show_default=True,
    metavar="NAME[:key=value,...]",
    help="The optimizer, such as rmsprop:alpha=0.9, torch-adam, or one of your own: my_rule.py:MyRule.",
)
SEED = click.option(
    "--seed",
    type=WholeInRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the initial weights and of the order of the data.",
)
DATA = click.option("--data", type=click.Path(path_type=Path), help="Folder or file with the task's data.")
OUT = click.option("--out", type=click.Path(path_type=Path), help="Folder to write to.")


class WithTasks(click.Command):
    """A command whose help ends with the tasks that it takes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the tasks, a line for each."""
        with formatter.section("Tasks"):
            formatter.write_dl(list(describe().items()))


def one_optimizer(specs: tuple[str, ...]) -> str:
    """The only optimizer that was given.

    Raises:
        UsageError: there are several.
    """
    if len(specs) > 1:
        raise click.UsageError(f"-o is given {len(specs)} times; `ravine compare` trains with several optimizers.")
    return specs[0]
