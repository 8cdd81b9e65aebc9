"""``ravine contour``: draws the search paths of optimizers on the contour lines of a function."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ravine import _files as files
from ravine.cli._options import OUT
from ravine.comparison._threads import one_thread
from ravine.contour import _page as contour_page
from ravine.contour import _path_record as path_record
from ravine.contour import _paths as paths
from ravine.contour import _sheet as contour_sheet
from ravine.contour._plot import Map, outside
from ravine.contour._scene import Member, Route, Scene
from ravine.errors import OptionError, nearest
from ravine.optim._signature import option_names
from ravine.optim._spec import OptimizerSpec, parse, parse_all
from ravine.plotting import _style as style
from ravine.plotting import _tables as tables
from ravine.tasks import Surface
from ravine.tasks import _surfaces as surfaces
from ravine.tasks._starts import starts as starts_of

_DEFAULTS = ("sgd", "momentum", "rmsprop:alpha=0.9", "adam")
_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
_OR_ELSE = ", or add --force to replace earlier pictures in it"
_ANY_RATE = 1.0  # stands where the rates that are tried will stand
_MOST_PATHS = 20_000

_HELP = f"""Draw the search paths of optimizers on the contour lines of FUNCTION.

FUNCTION is one of {", ".join(surfaces.names())}, or a Python file with a function f(point) of two variables.
Every optimizer gets the same learning rates, starts and steps; the picture shows each at its best rate, and the page
all of them. The folder ravine-out/contour-FUNCTION gets contour.png, contour.html and paths.json.
"""


@dataclass(frozen=True)
class _Entry:
    """A contender, and where a hyperparameter is swept its label without it and the value."""

    contender: OptimizerSpec
    family: str
    value: str | None = None


@click.command(name="contour", help=_HELP)
@click.argument("function")
@click.option(
    "-o",
    "--optimizer",
    "specs",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help=f"An optimizer, such as rmsprop:alpha=0.9 or your own, my_rule.py:MyRule; repeat for more. Without it: {', '.join(_DEFAULTS)}.",
)
@click.option("--sweep", metavar="KEY=VALUE,...", help="Values of one more hyperparameter, such as alpha=0.5,0.9,0.99.")
@click.option(
    "--rates", type=click.IntRange(2, 101), default=13, show_default=True, help="How many learning rates each gets."
)
@click.option("--lowest", type=float, default=1e-4, show_default=True, help="The lowest rate.")
@click.option(
    "--highest",
    type=float,
    default=1.0,
    show_default=True,
    help=f"The highest rate, at most {paths.DECADES} decades above the lowest.",
)
@click.option(
    "--starts", type=click.IntRange(1, 50), default=5, show_default=True, help="How many starting points each gets."
)
@click.option("--steps", type=click.IntRange(1, 10_000), default=300, show_default=True, help="How long each path is.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Decides the further starts."
)
@OUT
@click.option("--force", is_flag=True, help="Replace earlier pictures in --out.")
@click.pass_context
def command(
    context: click.Context,
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
    try:
        name, surface = surfaces.find(function)
        key, values = _swept(sweep)
        entries = _entries(specs or _DEFAULTS, key, values)
        all_rates = paths.rates(lowest, highest, rates)
        all_starts = starts_of(surface, starts, seed)
        if len(entries) * rates * starts > _MOST_PATHS:
            raise OptionError(
                f"{len(entries)} optimizers x {rates} rates x {starts} starts are more than {_MOST_PATHS} paths; try fewer."
            )
        with one_thread():
            for entry in entries:  # what is wrong with an option is said before a folder is made
                paths.rehearse(entry.contender, surface, all_rates)
            folder = files.claim(out, force, _OR_ELSE) if out else files.fresh(Path("ravine-out") / _folder(name))
            try:
                study = _walk_all(paths.Study(name, surface, all_rates, all_starts, steps, seed, ()), entries)
            except BaseException:
                if not any(folder.iterdir()):
                    folder.rmdir()
                raise
        _write(study, key, values, folder)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        context.exit(_INTERRUPTED)


def _folder(name: str) -> str:
    """A user's file may have any name, a folder of ours may not."""
    return "contour-" + (re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:48] or "function")


def _swept(sweep: str | None) -> tuple[str | None, list[str]]:
    """The key and the values, each as it would stand in a specification."""
    if sweep is None:
        return None, []
    key, found, text = sweep.partition("=")
    key = key.strip()
    try:
        values = ast.literal_eval(f"({text},)") if found and key.isidentifier() else ()
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        values = ()
    if not values:
        raise OptionError(f"--sweep {sweep!r} is not KEY=VALUE,VALUE,..., such as alpha=0.5,0.9,0.99.")
    if key == "lr":
        raise OptionError("--sweep is for one more hyperparameter; learning rates are swept by --rates.")
    texts = [repr(value) for value in values]
    if len(set(texts)) < len(texts):
        raise OptionError(f"--sweep {sweep!r} has a value twice.")
    return key, texts


def _entries(specs: tuple[str, ...], key: str | None, values: list[str]) -> list[_Entry]:
    """Each optimizer once, or if it has the swept hyperparameter once for each value."""
    found: list[_Entry] = []
    known: set[str] = set()
    for contender in parse_all(specs, None, _ANY_RATE):
        label, written = contender.label, contender.given
        if "lr" in written:
            raise OptionError(f"{label}: every optimizer is tried with all learning rates; leave lr out.")
        own = option_names(contender.factory)
        known.update(own)
        if key is None or key not in own:
            found.append(_Entry(contender, label))
            continue
        if key in written:
            raise OptionError(f"{label}: {key} is swept; leave it out here.")
        for value in values:
            spec = f"{label}{',' if written else '' if label.endswith(':') else ':'}{key}={value}"
            found.append(_Entry(parse(spec, None, _ANY_RATE), label, value))
    if key is not None and key not in known:
        raise OptionError(f"--sweep: none of the optimizers has an option {key!r}. {nearest(key, known - {'lr'})}")
    return found


def _walk_all(study: paths.Study, entries: list[_Entry]) -> paths.Study:
    """The study with every optimizer's paths; progress shows on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    walks = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        total = bar.add_task("", total=study.steps * len(entries))
        for entry in entries:
            bar.update(total, description=entry.contender.label)
            found = paths.walk(
                entry.contender, study.surface, study.rates, study.starts, study.steps, lambda: bar.advance(total)
            )
            walks.append(paths.Walk(entry.contender, found, entry.family, entry.value))
    return replace(study, walks=tuple(walks))


def _write(study: paths.Study, key: str | None, values: list[str], folder: Path) -> None:
    """The table, and the files: the numbers first, because pictures can be drawn again."""
    scene = _scene(study, key, values)
    heads = ["optimizer", "best lr", "final value", "steps outside", "paths diverged"]
    ranked = sorted(study.walks, key=lambda walk: study.score(walk, study.best(walk)))
    title = f"{study.name}, best of {len(study.rates)} rates, {len(study.starts)} starts, {study.steps} steps"
    Console().print(tables.table(heads, [_row(study, walk) for walk in ranked], title))
    if study.lowest:
        click.echo(f"Values are above {study.lowest:.7g}, the lowest that is known.")
    for member in scene.members:
        if end := scene.at_the_end(member):
            click.echo(f"{member.label}: the best rate is {end}; a better one may lie outside.")
    made = {
        "paths.json": lambda: path_record.to_json(study),
        "contour.png": lambda: style.png(contour_sheet.draw(scene)),
        "contour.html": lambda: contour_page.page(scene),
    }
    for name, content in made.items():
        files.write(folder / name, content())
        click.echo(f"Wrote {folder / name}")


def _row(study: paths.Study, walk: paths.Walk) -> list[str]:
    """At the best rate the geometric mean of the final values, and the share of steps outside the window."""
    best = study.best(walk)
    ends = study.excess(walk)[best]
    steps = np.concatenate([outside(path.points[1:], study.surface.window) for path in walk.paths[best]])
    diverged = np.count_nonzero(~np.isfinite(walk.finals))
    with np.errstate(divide="ignore"):
        mean = float(np.exp(np.log(ends).mean()))
    share = f"{steps.mean():.1%}" if len(steps) else ""
    return [
        walk.contender.label,
        f"{study.rates[best]:g}",
        f"{mean:.2e}" if np.isfinite(mean) else "diverged",
        share,
        f"{diverged} of {walk.finals.size}",
    ]


def _scene(study: paths.Study, key: str | None, values: list[str]) -> Scene:
    """The study as the pictures need it: how far above the lowest value instead of values."""
    members = [
        Member(
            label=walk.contender.label,
            routes=[
                [Route(p.points, np.maximum(p.values - study.lowest, 0.0), p.diverged_at) for p in row]
                for row in walk.paths
            ],
            finals=study.excess(walk),
            best=study.best(walk),
            reference=walk.contender.reference,
            family=walk.family,
            value=walk.value,
        )
        for walk in study.walks
    ]
    surface: Surface = study.surface
    xs, ys, heights = paths.grid(surface)
    ground = Map(xs, ys, np.maximum(heights - study.lowest, 0.0), surface.start, surface.minimum, study.starts[1:])
    return Scene(
        name=study.name,
        surface=ground,
        rates=study.rates,
        starts=study.starts,
        steps=study.steps,
        seed=study.seed,
        members=members,
        lowest=study.lowest,
        floor=study.floor,
        highest=study.highest,
        swept=key,
        values=values,
    )
