"""``ravine compare``: a fair comparison from the command line, with its table, its verdict and its report."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

from ravine import _files as files
from ravine._live.serving import check_packages
from ravine.cli._live_beside import show_live
from ravine.cli._options import DATA, WithTasks
from ravine.cli._out_folder import OUT
from ravine.cli._screen import say
from ravine.cli._show_result import show_result
from ravine.comparison._api import compare, estimate
from ravine.comparison._study.declare import PRESETS, Preset
from ravine.comparison._study.location import JOURNAL
from ravine.comparison._study.schedules import schedules_from_words
from ravine.optim import _spec as specs
from ravine.train._schedules.by_text import usage as schedule_forms

_HELP = f"""Find out which optimizer is best on TASK, or over several tasks, and at which learning rate.

For every seed, each optimizer is tuned with the same number of points from its search space, on validation data. Its best
point is then trained with a fresh seed. Only these fresh runs are judged, and only they read the test data. The verdict
says which optimizers may be the best, which are not, which are equivalent, and how many more seeds would settle the rest.
Writes report.html, report.md, pictures, results.json and results.csv to ravine-out/compare-TASK.

TASK is one of those below, or a Python file with a function that returns a Task. Several tasks are judged one by one and
together. Without TASK, digits is compared with the preset settle, in about a minute. Without -o, these are compared: {", ".join(specs.DEFAULTS)}.
"""


def _seeds_text(preset: Preset) -> str:
    looks = preset.looks
    return f"{looks[0]} seeds" if len(looks) == 1 else f"{looks[0]} to {looks[-1]} seeds, until all is settled"


@click.command(name="compare", help=_HELP, cls=WithTasks)
@click.argument("tasks", metavar="[TASK]...", nargs=-1)
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
    metavar="|".join(PRESETS),
    help="Size of the study: "
    + "; ".join(f"{name}, {p.points} points and {_seeds_text(p)}" for name, p in PRESETS.items())
    + ". The trainings of settle and quick are as short as the task allows; settle has the schedule "
    + f"{PRESETS['settle'].schedule} if you name none. Default: standard; without TASK settle.",
)
@click.option("--points", type=int, help="Points of the search space that each tuning tries.")
@click.option(
    "--seeds",
    type=int,
    help="Number of seeds. To extend a finished study that is not settled, name it again with more.",
)
@click.option(
    "--until",
    type=click.Choice(["settled"]),
    help="Judge the study after 8, 11, 14, ... seeds, and stop when all is settled. Repeated looks widen the intervals.",
)
@click.option("--at-most", type=int, help="Largest number of seeds with --until settled; default: 60, with settle 100.")
@click.option("--steps", type=int, help="Steps of each training.")
@click.option(
    "--schedule",
    multiple=True,
    metavar="[LABEL=]NAME:ARGUMENTS",
    help=f"How the learning rate changes: {', '.join(schedule_forms())}. With a LABEL only for that optimizer; "
    "repeat it for more.",
)
@click.option("--space", type=click.Path(path_type=Path), metavar="FILE", help="A TOML file with search spaces.")
@click.option(
    "--margin",
    default="",
    metavar="0.01|1%",
    help="The largest difference in validation loss that does not matter; default: the spread of the loss from one tuning "
    "to the next.",
)
@click.option(
    "--halving",
    is_flag=True,
    help="Train all points of a tuning for a quarter of the steps, then only the best half of them for all steps.",
)
@click.option(
    "--study-seed", type=int, default=0, help="Use another one to repeat the study with other points and seeds."
)
@click.option("--jobs", type=int, help="Trainings that run at a time, each on one thread; default: one per processor.")
@click.option("--study", metavar="NAME", help="Name of the study, so that you can resume or share it.")
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
@click.option(
    "--live", is_flag=True, help="Show the study on a page in the browser while it runs, as `ravine live` does."
)
@click.option("--dry-run", is_flag=True, help="Train nothing; say what the study will cost and what it can show.")
def command(
    tasks: tuple[str, ...],
    optimizers: tuple[str, ...],
    until: str | None,
    schedule: tuple[str, ...],
    dry_run: bool,
    live: bool,
    **given: Any,
) -> None:
    if live:
        check_packages()
    given["schedule"] = schedules_from_words(schedule)
    if given["preset"] is None:  # one optimizer alone has nothing to settle
        given["preset"] = "standard" if tasks or len(optimizers) == 1 else "settle"
    given["task"] = list(tasks) if len(tasks) > 1 else tasks[0] if tasks else "digits"
    if dry_run:
        costs = estimate(optimizers=optimizers or specs.DEFAULTS, until=until or "", **given)
        for task, cost in costs.items():
            say("\n".join([*([f"{task}:"] if len(costs) > 1 else []), *cost.lines]))
        return
    if live:
        _show_live(given)
    # as Ctrl-C: workers end, and the message says how to resume
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = compare(optimizers=optimizers or specs.DEFAULTS, until=until or "", **given)
        show_result(result)
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_live(given: dict[str, Any]) -> None:
    """Show the study that is about to begin; one without a name gets the name of its folder, as it would without the page."""
    if given["out"] is None and given["study"] is None:
        tasks = given["task"] if isinstance(given["task"], list) else [given["task"]]
        wanted = "compare-" + "-".join(Path(task).stem if task.endswith(".py") else task for task in tasks)[:40]
        given["study"] = wanted if given["storage"] else files.fresh(OUT / wanted).name
    folder = given["out"] or OUT / given["study"]
    storage = given["storage"] or str(folder / JOURNAL)
    name = str(folder) if given["study"] is None else given["study"]
    show_live([name, "--storage", storage])
