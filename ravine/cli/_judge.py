"""``ravine judge FILE...``: the verdict on runs that other programs have logged."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ravine import _files as files
from ravine._fallback_characters import visible
from ravine.cli._out_folder import say_written
from ravine.cli._screen import say
from ravine.comparison._curves.text_file import STDIN
from ravine.comparison._export.logged_json import KIND, logged_json
from ravine.comparison._logged import judge_files
from ravine.errors import OptionError

_HELP = """Say which optimizer is best from runs that any program logged.

FILE is a table (CSV, or JSON lines) with a row for each optimizer, run and step, a chart of Weights & Biases or a scalar of
TensorBoard as downloaded, a folder with TensorBoard's event files, or an Optuna storage; - is a table on standard input. Several are
read together. The last value of each run is compared. The verdict is that of `ravine compare`: which optimizers may be the best,
and which are not.
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
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write results.json here.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write a report here: report.html, report.md, pictures and results.json.",
)
def command(paths: tuple[str, ...], json_file: Path | None, out: Path | None, **given: Any) -> None:
    if json_file is not None:
        files.check_file(json_file)
        _check_inputs_stay(json_file, paths)
        if json_file.is_file() and json_file.stat().st_size and not _is_ours(json_file):
            raise OptionError(
                f"--json {json_file} would write over a file that ravine judge did not write. Name another file."
            )
    if out is not None:
        _claim(out)
    result = judge_files(paths, **given)
    say(visible(result.sentence))
    Console().print(result.table())
    for note in result.notes:
        say(visible(note))
    if json_file is not None:
        files.write(json_file, logged_json(result))
        say(f"Wrote {json_file}")
    if out is not None:
        written = result.write(out, _command(result.files, given, out))
        say_written([path.name for path in written], out, "report.html")


def _check_inputs_stay(json_file: Path, paths: Sequence[str]) -> None:
    """Refuse to write over what is read, by whatever name.

    Raises:
        OptionError: it is the same file.
    """
    if not json_file.exists():
        return
    for path in paths:
        place = Path("/dev/stdin" if path == STDIN else path.removeprefix("sqlite:///"))
        for read in [place, *place.rglob("*")] if place.is_dir() else [place]:
            with suppress(OSError):
                if read.samefile(json_file):
                    raise OptionError(f"--json {json_file} would write over what is read, {path}. Name another file.")


def _claim(folder: Path) -> None:
    """Refuse a folder with other things than a report on logged runs, which is written again.

    Raises:
        OptionError: it has them, or cannot be written.
    """
    files.claim(folder, force=_is_ours(folder / "results.json"))


def _is_ours(file: Path) -> bool:
    """Whether it is a results.json of logged runs, which may be written again."""
    with suppress(OSError, ValueError, AttributeError):
        return bool(json.loads(file.read_bytes()).get("kind") == KIND)
    return False


def _command(paths: Sequence[str], given: Mapping[str, Any], out: Path) -> str:
    """The command line that makes the report."""
    words = ["ravine", "judge", *paths]
    for name in ("columns", "tag", "margin", "target"):
        if given[name] not in (None, ""):
            words += [f"--{name}", str(given[name])]
    words += ["--higher"] if given["higher_is_better"] else []
    return shlex.join([*words, "--out", str(out)])
