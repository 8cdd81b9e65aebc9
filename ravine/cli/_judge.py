"""``ravine judge FILE...``: the verdict on runs that other programs have logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ravine import _files as files
from ravine.cli._screen import say
from ravine.comparison._export.judgement_tree import compared_tree, steps_tree
from ravine.comparison._export.strict import strict
from ravine.comparison._judge import Compared
from ravine.comparison._logged import judge_files

_HELP = """Say which optimizer is best from runs that any program logged.

FILE is a table (CSV, or JSON lines) with a row for each optimizer, run and step, a folder with TensorBoard's event files, or
an Optuna storage; several are read together. The last value of each run is compared. The verdict is that of `ravine
compare`: which optimizers may be the best, and which are not.
"""


@click.command(name="judge", help=_HELP)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--columns",
    metavar="optimizer=NAME,value=NAME",
    help="What the columns are called, if not optimizer, run, step and value.",
)
@click.option("--tag", help="Scalar of TensorBoard to read; default: the only one, or the validation loss.")
@click.option("--higher", "higher_is_better", is_flag=True, help="Higher is better, as for an accuracy.")
@click.option(
    "--margin",
    default="",
    metavar="0.01|1%",
    help="The largest difference that does not matter; default: the spread from one run to the next, and 0 with fewer "
    "than 5 runs.",
)
@click.option(
    "--target", type=float, help="A value to reach: also say how many runs reach it, and after how many steps."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the verdict here.")
def command(paths: tuple[str, ...], json_file: Path | None, **given: Any) -> None:
    result = judge_files(paths, **given)
    console = Console()
    console.print(result.sentence, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    console.print(result.table())
    for note in result.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    if json_file is not None:
        tree = {"format": 1, "sentence": result.sentence, "paired": result.paired, "notes": list(result.notes)}
        tree["compared"] = compared_tree(Compared(result.metric, result.with_best))
        tree["steps_to_target"] = steps_tree(result.steps)
        files.write(json_file, (json.dumps(strict(tree), indent=1) + "\n").encode())
        say(f"Wrote {json_file}")
