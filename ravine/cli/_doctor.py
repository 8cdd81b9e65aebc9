"""``ravine doctor RUN``: what went wrong in a run, in plain words."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ravine.diagnose import Diagnosis, diagnose

_HELP = """Say in plain words what went wrong in a run.

RUN is the folder of a run that was watched, such as ravine-out/train-digits. Each finding has what shows it and what
to try, the most serious first. Whether something is found or not, the exit code is 0.
"""


@click.command(name="doctor", help=_HELP)
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    diagnosis = diagnose(run)
    console = Console(highlight=False)
    if console.is_terminal:
        _show(diagnosis, console)
    else:
        click.echo(str(diagnosis))


def _show(diagnosis: Diagnosis, console: Console) -> None:
    """The same as the text of the diagnosis, as wide as the terminal. Text is never read as markup."""
    console.print(Text(diagnosis.headline, style="" if len(diagnosis) else "green"))
    for place, finding in enumerate(diagnosis, start=1):
        label = f"{place}. "
        console.print()
        console.print(Text.assemble(label, (finding.title, "bold")))
        advice = Text.assemble(("Try: ", "bold"), finding.advice)
        for text in (Text(finding.evidence), advice):
            console.print(Padding(text, (0, 0, 0, len(label))))
    console.print()
    console.print(Text(diagnosis.looked_at, style="dim"))
