"""``ravine compare``: a fair comparison from the command line, with its table, its verdict and its report."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

from ravine.cli._options import DATA, tasks_text
from ravine.cli._show_result import show_result
from ravine.comparison._api import compare
from ravine.comparison._study.declare import PRESETS
from ravine.optim import _spec as specs
from ravine.train._schedules.by_text import usage as schedule_forms

_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

_HELP = f"""Find out which optimizer, and which learning rate, is best on TASK.

Every optimizer is tuned with the same number of points from its search space, on validation data. The best point of each
is then evaluated with fresh seeds, the same for all; only that evaluation reads the test data. The verdict says what these
runs show, and how many more seeds would settle the rest. Writes report.html, report.md, pictures, results.json and results.csv to
ravine-out/compare-TASK.

TASK is one of those below, or a Python file with a function that returns a Task; default: digits. Without -o, these are
compared: {", ".join(specs.DEFAULTS)}.
"""


@click.command(name="compare", help=_HELP, epilog=tasks_text())
@click.argument("task", default="digits")
@click.option(
    "-o",
    "--optimizer",
    "optimizers",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="An optimizer, such as rmsprop:alpha=0.9, torch-adam or your own, my_rule.py:MyRule; options you set are kept "
    "fixed, not tuned. Repeat it for more.",
)
@click.option(
    "--preset",
    default="standard",
    show_default=True,
    metavar="|".join(PRESETS),
    help="How much is tried: "
    + "; ".join(f"{name}, {p.points} points and {p.seeds} fresh seeds" for name, p in PRESETS.items())
    + ". Quick trainings are as short as the task allows.",
)
@click.option("--points", type=int, help="Points from each search space.")
@click.option("--seeds", type=int, help="Fresh seeds of the final evaluation.")
@click.option("--steps", type=int, help="Steps of each training.")
@click.option(
    "--schedule",
    default="",
    metavar="NAME:ARGUMENTS",
    help=f"How the learning rate changes: {', '.join(schedule_forms())}.",
)
@click.option("--space", type=click.Path(path_type=Path), metavar="FILE", help="A TOML file with search spaces.")
@click.option(
    "--reference", default="", metavar="NAME", help="The optimizer whose runs set the target loss; default: the first."
)
@click.option("--jobs", type=int, help="Trainings at a time, each on one thread; default: one per processor.")
@click.option("--study", metavar="NAME", help="The study's name, to resume or to share it.")
@click.option(
    "--storage",
    metavar="URL",
    envvar="RAVINE_STORAGE",
    help="Where trials are stored: postgresql://..., or a journal file. Other machines join with `ravine worker`.",
)
@DATA
@click.option(
    "--out", type=click.Path(path_type=Path), help="Report folder. If it already holds a study, the study resumes."
)
@click.pass_context
def command(context: click.Context, optimizers: tuple[str, ...], **given: Any) -> None:
    # as Ctrl-C: workers end, and the message says how to resume
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = compare(optimizers=optimizers or specs.DEFAULTS, **given)
        show_result(result)
    except KeyboardInterrupt as interrupt:
        click.echo("\n".join(["Interrupted.", *getattr(interrupt, "__notes__", [])]), err=True)
        context.exit(_INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
