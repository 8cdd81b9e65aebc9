"""``ravine compare``: trains one task with several optimizers, shows how they did and writes it down."""

import math
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ravine import files
from ravine.cli.options import DATA, OUT, SEED
from ravine.comparison import contenders, record, summary
from ravine.comparison.contenders import Contender
from ravine.comparison.paths import grid
from ravine.comparison.run import Result, one_thread, train, warm_up
from ravine.errors import OptionError
from ravine.report import contour, curves, style, tables
from ravine.tasks import Surface, Task, find, names

_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
_OR_ELSE = ", or add --force to replace an earlier comparison in it"

_HELP = f"""Train TASK with several optimizers and compare them.

TASK is one of {", ".join(names())}, or a Python file
with a function that returns a Task; without it, digits. Every optimizer starts from the same weights
and sees the same batches. The folder ravine-out/compare-TASK gets curves.png and results.json, and
contour.png for a function of two variables.
"""


@dataclass(frozen=True)
class _Plan:
    """What is to be run, all of it checked."""

    task: Task
    field: list[Contender]
    epochs: int
    seed: int
    folder: Path


@click.command(name="compare", help=_HELP)
@click.argument("task", default="digits")
@click.option(
    "-o",
    "--optimizer",
    "specs",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="An optimizer to compare, such as rmsprop:alpha=0.9, torch-adam, or your own, my_rule.py:MyRule; repeat for more.",
)
@click.option("--lr", type=float, help="One learning rate for all; lr=... in -o is for one.")
@click.option("--epochs", type=click.IntRange(min=1), help="How long to train; each task has its usual length.")
@SEED
@click.option("--quick", is_flag=True, help="Train for the fewest epochs that still tell something.")
@DATA
@OUT
@click.option("--force", is_flag=True, help="Replace the files of an earlier comparison in --out.")
@click.pass_context
def command(
    context: click.Context,
    task: str,
    specs: tuple[str, ...],
    lr: float | None,
    epochs: int | None,
    seed: int,
    quick: bool,
    data: Path | None,
    out: Path | None,
    force: bool,
) -> None:
    if quick and epochs is not None:
        raise click.UsageError("--quick and --epochs both say how long to train; give one.")
    if force and out is None:
        raise click.UsageError("--force is for the folder that --out names; without --out a new one is made.")
    if lr is not None and not (math.isfinite(lr) and lr > 0):
        raise OptionError(f"--lr {lr:g}: a learning rate is a finite number above 0.")
    try:
        found = find(task, data)
        field = contenders.parse_all(specs or contenders.DEFAULTS, found, lr)
        for contender in field:  # what is wrong with an option is said before a folder is made
            contender.build(found.model().parameters())
        folder = files.claim(out, force, _OR_ELSE) if out else files.fresh(Path("ravine-out") / f"compare-{found.name}")
        epochs = epochs or (found.quick_epochs if quick else found.epochs)
        complete = _compare(_Plan(found, field, epochs, seed, folder))
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        complete = False
    if not complete:
        context.exit(_INTERRUPTED)


def _compare(plan: _Plan) -> bool:
    """Train, show and write; whether all was trained, or the user stopped it."""
    results: list[Result] = []
    complete = False
    try:
        with one_thread():
            _train_all(plan, results)
        complete = True
    except KeyboardInterrupt:
        done = ", ".join(result.contender.label for result in results) or "nothing"
        click.echo(f"Interrupted. Finished, {len(results)} of {len(plan.field)}: {done}.", err=True)
    finally:
        if not results and not any(plan.folder.iterdir()):
            plan.folder.rmdir()
    if results:
        title = f"{plan.task.name}, {_count(plan.epochs, 'epoch')}, seed {plan.seed}"
        heads, rows = summary.table(plan.task, results)
        Console().print(tables.table(heads, rows, title))
        for name, content in _files(plan, results, title, complete).items():
            files.write(plan.folder / name, content)
            click.echo(f"Wrote {plan.folder / name}")
    return complete


def _train_all(plan: _Plan, results: list[Result]) -> None:
    """Append each contender's result as it is finished; progress shows on a terminal only."""
    start = plan.task.start(plan.seed)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} epochs"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        total = bar.add_task("compiling", total=plan.epochs * len(plan.field))
        for contender in plan.field:
            bar.update(total, description=f"preparing {contender.label}")
            warm_up(plan.task, contender, start)
        for contender in plan.field:
            bar.update(total, description=contender.label)
            result = train(
                plan.task,
                contender,
                start,
                epochs=plan.epochs,
                seed=plan.seed,
                on_epoch=lambda: bar.advance(total),
            )
            results.append(result)
            bar.update(total, completed=plan.epochs * len(results))  # a diverged one stopped early


def _files(plan: _Plan, results: list[Result], title: str, complete: bool) -> dict[str, bytes]:
    """The files of a comparison, by name."""
    task = plan.task
    lines = [curves.Curve(r.contender.label, r.losses, r.contender.reference) for r in results]
    quantity = "value" if task.surface else "training loss"
    window = 1 if task.surface else task.steps_per_epoch
    # the numbers first: a picture can be drawn again
    found = {
        "results.json": record.to_json(task, results, seed=plan.seed, epochs=plan.epochs, interrupted=not complete),
        "curves.png": style.png(curves.draw(lines, title=title, quantity=quantity, window=window)),
    }
    if task.surface:
        paths = [contour.Path(r.contender.label, r.path or [], r.contender.reference) for r in results]
        found["contour.png"] = style.png(contour.draw(_map(task.surface), paths, title=title))
    return found


def _map(surface: Surface) -> contour.Map:
    """The surface's values on a grid over its window."""
    return contour.Map(*grid(surface), surface.start, surface.minimum)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
