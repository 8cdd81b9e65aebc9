"""The command ``ravine``: one file per subcommand, imported only when it is called.

Knows every part of the package; no part knows it.
"""

import errno
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

import ravine
from ravine.cli._help_text import LaidOut
from ravine.cli._interrupted import INTERRUPTED, say_interrupted
from ravine.cli._option_names import answer
from ravine.cli._screen import fit_encoding, is_terminal, say
from ravine.errors import OptionError, RavineError, nearest

__all__ = ["main"]

COMMANDS = {
    "list": "Show tasks, optimizers, and the runs and studies in this folder.",
    "show": "Print an optimizer's formula, state, bytes moved and kernel.",
    "train": "Train a task and see every epoch. You can stop and resume.",
    "lr-find": "Find a learning rate for a task.",
    "live": "Show a training or a study in the browser while it runs.",
    "plot": "Draw the losses of one or more runs in one picture.",
    "diagnose": "Say what went wrong in a run, and what to try.",
    "compare": "Find out which optimizer is best on a task, with equal tuning and fresh seeds.",
    "report": "Redraw the report of a study, even while the study is running.",
    "judge": "Say which optimizer is best from runs that any program logged.",
    "worker": "Run trials of a study, alone or together with other machines.",
    "contour": "Draw search paths on a function's contour lines.",
    "play": "Run optimizers on a surface in the browser, with sliders.",
    "bench": "Time optimizer steps against torch and the memory limit.",
}

#: Commands that take long, and what they do before they have anything to show.
_FIRST = {
    "train": "Loading PyTorch and the task",
    "lr-find": "Loading PyTorch and the task",
    "live": "Loading PyTorch",
    "compare": "Loading PyTorch; then a step of each optimizer is tried",
    "worker": "Loading PyTorch and the study",
    "contour": "Loading PyTorch",
    "play": "Loading PyTorch",
    "bench": "Loading PyTorch",
}
_HELP = {"help_option_names": ["-h", "--help"]}


class _Commands(click.Group):
    """Looks a subcommand up by its name: ``ravine.cli._NAME`` has a click command ``command``."""

    context_class = LaidOut

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ravine.cli._{name.replace('-', '_')}").command
        command.context_class = LaidOut
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *rest = args
        if name not in COMMANDS and not name.startswith("-"):
            raise OptionError(f"There is no command {name!r}. {nearest(name, COMMANDS)}")
        if name != "list" and not {"--quiet", *_HELP["help_option_names"]} & set(rest):
            _say_first(name)
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt as interrupt:  # before click writes an empty line, and ends with 1
            if _speaks():
                say_interrupted(interrupt, sys.argv[1:])
            context.exit(INTERRUPTED)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings=_HELP)
@click.version_option(ravine.__version__)
def _ravine() -> None:
    """Optimizers written as formulas: see them, train with them, time them, compare them."""


def main() -> None:
    """Run the command line; an error is one line on standard error that begins with ``ravine:``, and exit code 2."""
    fit_encoding()
    try:
        sys.exit(_ravine.main(prog_name="ravine", standalone_mode=False))
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2 and later
            error.show()
            sys.exit(2)
        _fail(_text_of(error))
    except click.Abort:  # Ctrl-C before a command was looked up
        sys.exit(INTERRUPTED)
    except RavineError as error:
        _fail(error.on_command_line or str(error), getattr(error, "__notes__", []))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"{error.strerror}: what was to be shown cannot be written.")


def _fail(text: str, notes: Iterable[str] = ()) -> None:
    if _speaks():
        say(f"ravine: {text}", err=True)
        for note in notes:
            say(note, err=True, wrap=False)
    sys.exit(2)


def _text_of(error: click.ClickException) -> str:
    """What click found wrong, in one line, and where all options are."""
    text = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context is not None:
        known = [name for option in context.command.get_params(context) for name in option.opts]
        text = f"There is no option {error.option_name!r}. {answer(error.option_name, known)}"
    text = text if text.endswith((".", "?")) else f"{text}."
    return f"{text} See `{context.command_path} --help`." if context is not None else text


def _say_first(name: str) -> None:
    """Something on the screen at once: importing torch takes seconds. Where nobody looks, only what takes long says so."""
    if "torch" not in sys.modules and _speaks() and (name in _FIRST or is_terminal(sys.stderr)):
        say(f"{_FIRST.get(name, 'Loading PyTorch')} ...", err=True)


def _speaks() -> bool:
    """Of the processes that torchrun started, one does."""
    return os.environ.get("RANK", "0") == "0"
