"""``ravine diagnose RUN``: what went wrong in a run, in plain words."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ravine.cli._out_folder import find_run
from ravine.cli._screen import say
from ravine.diagnose import Diagnosis, diagnose

_HELP = """Say in plain words what went wrong in a run.

RUN is the name of a run in `ravine list`, such as train-digits, or the path of its folder. Each problem comes with its evidence and with what to
try, the most serious first. The exit code is 0 whether or not a problem is found.
"""


@click.command(name="diagnose", help=_HELP)
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    diagnosis = diagnose(find_run(run))
    console = Console(highlight=False)
    if console.is_terminal:
        show(diagnosis, console)
    else:
        say(str(diagnosis))


def first_finding(diagnosis: Diagnosis, folder: Path) -> str:
    """The most serious problem in a line or two, and where the rest is; empty without any."""
    if not len(diagnosis):
        return ""
    first = diagnosis[0]
    rest = f" ({len(diagnosis) - 1} more)" if len(diagnosis) > 1 else ""
    return f"{first.title}{rest}: {first.evidence}\nWhat to try: ravine diagnose {shlex.quote(str(folder))}"


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print the text of the diagnosis, as wide as the terminal. Nothing in it is read as markup."""
    console.print(Text(diagnosis.headline, style="" if len(diagnosis) else "green"))
    for place, symptom in enumerate(diagnosis, start=1):
        label = f"{place}. "
        console.print()
        console.print(Text.assemble(label, (symptom.title, "bold")))
        advice = Text.assemble(("Try: ", "bold"), symptom.advice)
        for text in (Text(symptom.evidence), advice):
            console.print(Padding(text, (0, 0, 0, len(label))))
    console.print()
    console.print(Text(diagnosis.examined, style="dim"))
