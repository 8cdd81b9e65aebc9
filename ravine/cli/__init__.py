"""The command ``ravine``: one file per subcommand, imported only when it is called.

Knows every part of the package; no part knows it.
"""

import errno
import importlib
import os
import sys

import click

import ravine
from ravine.errors import RavineError

__all__ = ["main"]

COMMANDS = {
    "show": "Print an optimizer's formula, state, bytes moved and kernel.",
    "train": "Train a task and see every epoch. You can stop and resume.",
    "lr-find": "Find a learning rate for a task.",
    "plot": "Draw the losses of one or more runs in one picture.",
    "diagnose": "Say what went wrong in a run, and what to try.",
    "compare": "Find out which optimizer is best on a task, with equal tuning and fresh seeds.",
    "report": "Redraw the report of a study, even while the study is running.",
    "judge": "Say which optimizer is best from runs that any program logged.",
    "worker": "Run trials of a study, alone or together with other machines.",
    "contour": "Draw search paths on a function's contour lines.",
    "bench": "Time optimizer steps against torch and the memory limit.",
}


class _Commands(click.Group):
    """Looks a subcommand up by its name: ``ravine.cli._NAME`` has a click command ``command``."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ravine.cli._{name.replace('-', '_')}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ravine.__version__)
def _ravine() -> None:
    """Optimizers written as formulas: see them, train with them, time them, compare them."""


def main() -> None:
    """Run the command line; an error of the library is one line on standard error and exit code 2."""
    try:
        _ravine(prog_name="ravine")
    except RavineError as error:
        if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun started, one speaks
            click.echo("\n".join([f"ravine: {error}", *getattr(error, "__notes__", [])]), err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        click.echo(f"ravine: {error.strerror}: what was to be shown cannot be written.", err=True)
        sys.exit(2)
