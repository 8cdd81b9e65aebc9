"""``ravine contour``: draws the search paths of optimizers on the contour lines of a function."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ravine import _files as files
from ravine._plotting import terminal_tables as tables
from ravine._plotting.progress_lines import ProgressLines
from ravine.cli._options import OUT, WholeInRange
from ravine.cli._out_folder import say_written
from ravine.cli._screen import say
from ravine.comparison._judge.number_text import count
from ravine.contour._exploration import DEFAULTS, Exploration, ExplorationPlan, plan
from ravine.contour._trajectories import DECADES
from ravine.errors import OptionError
from ravine.tasks import _surfaces as surfaces

_OR_ELSE = ", or add --force to replace earlier pictures in it"

_HELP = f"""Draw the paths of optimizers on the contour lines of FUNCTION.

FUNCTION is one of {", ".join(surfaces.names())}, or a Python file with a function f(point) of two variables.
Every optimizer gets the same learning rates, starting points and number of steps. The picture shows each at its best
rate, the page all of them. Writes contour.png, contour.html and paths.json to ravine-out/contour-FUNCTION.
"""


@click.command(name="contour", help=_HELP)
@click.argument("function")
@click.option(
    "-o",
    "--optimizer",
    "specs",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help=f"An optimizer, such as rmsprop:alpha=0.9 or your own, my_rule.py:MyRule; repeat it for more. Default: {', '.join(DEFAULTS)}.",
)
@click.option("--sweep", metavar="KEY=VALUE,...", help="Sweep one more hyperparameter, such as alpha=0.5,0.9,0.99.")
@click.option("--rates", type=WholeInRange(2, 101), default=13, show_default=True, help="Learning rates per optimizer.")
@click.option("--lowest", type=float, default=1e-4, show_default=True, help="The lowest learning rate.")
@click.option(
    "--highest",
    type=float,
    default=1.0,
    show_default=True,
    help=f"The highest learning rate, at most {DECADES} decades above the lowest.",
)
@click.option("--starts", type=WholeInRange(1, 50), default=5, show_default=True, help="Starting points per optimizer.")
@click.option("--steps", type=WholeInRange(1, 10_000), default=300, show_default=True, help="Steps of each path.")
@click.option(
    "--seed", type=WholeInRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of the other starting points."
)
@OUT
@click.option("--force", is_flag=True, help="Replace earlier pictures in --out.")
def command(
    function: str,
    specs: tuple[str, ...],
    sweep: str | None,
    rates: int,
    lowest: float,
    highest: float,
    starts: int,
    steps: int,
    seed: int,
    out: Path | None,
    force: bool,
) -> None:
    if force and out is None:
        raise click.UsageError("--force is for the folder that --out names; without --out a new one is made.")
    planned = plan(
        function,
        specs or DEFAULTS,
        sweep=_sweep(sweep),
        rates=rates,
        lowest=lowest,
        highest=highest,
        starts=starts,
        steps=steps,
        seed=seed,
    )
    wanted = Path("ravine-out") / _folder(planned.record.name)
    folder = files.claim(out, force, _OR_ELSE) if out else files.fresh(wanted)
    try:
        explored = _run(planned)
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    _show(explored)
    say_written([path.name for path in explored.write(folder)], folder, "contour.html")


def _folder(name: str) -> str:
    """A user's file may have any name, a folder of ours may not."""
    return "contour-" + (re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:48] or "function")


def _sweep(text: str | None) -> dict[str, tuple[Any, ...]] | None:
    """``alpha=0.5,0.9`` as the key and its values."""
    if text is None:
        return None
    key, equals, literals = text.partition("=")
    key = key.strip()
    try:
        values = ast.literal_eval(f"({literals},)") if equals and key.isidentifier() else ()
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        values = ()
    if not values:
        raise OptionError(f"--sweep {text!r} is not KEY=VALUE,VALUE,..., such as alpha=0.5,0.9,0.99.")
    return {key: values}


def _run(planned: ExplorationPlan) -> Exploration:
    """Follow every optimizer."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    record = planned.record
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        total = bar.add_task("", total=record.steps * len(record.entries))
        lines, done = ProgressLines(), 0

        def step(label: str) -> None:
            nonlocal done
            done += 1
            if console.is_terminal:
                bar.update(total, advance=1, description=label)
            elif lines.due():
                say(f"{done:,} of {record.steps * len(record.entries):,} steps, {label}", err=True)
                lines.written()

        return planned.run(step)


def _show(explored: Exploration) -> None:
    """The table, and what stands beside it."""
    record = explored.record
    title = f"{record.name}, best of {count(len(record.rates), 'rate')}, {count(len(record.starts), 'start')}, {count(record.steps, 'step')}"
    Console().print(tables.table(*explored.table(), title, best=[0]))
    if record.lowest:
        say(f"Values are shown above {record.lowest:.7g}, the lowest known value.")
    for entry in explored.plot_data.entries:
        if end := explored.plot_data.at_the_end(entry):
            say(f"{entry.label}: the best rate is {end}; a better one may lie outside.")
