"""``ravine plot RUN RUN``: the losses of runs in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from ravine import _files as files
from ravine._plotting.style import png
from ravine.cli._options import WholeInRange
from ravine.cli._out_folder import OUT, find_run
from ravine.cli._screen import say
from ravine.errors import DataError, OptionError
from ravine.train import Recorder
from ravine.train import _run_folder as run_folder

PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins

_HELP = """Draw the losses of one or more runs in one picture.

RUN is the name of a run in `ravine list`, such as train-digits, or the path of its folder or metrics.jsonl; NAME=RUN names
it in the picture.
Without names, runs are named by the options in which they differ. Training losses are plain lines, validation losses
lines with dots.
"""


@click.command(help=_HELP)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--scale", type=click.Choice(["log", "linear"]), help="Axis of the losses. Default: log, if all are above 0."
)
@click.option(
    "--x", type=click.Choice(["step", "epoch", "seconds"]), default="step", show_default=True, help="Horizontal axis."
)
@click.option("--window", type=WholeInRange(min=1), help="Smooth over this many steps. Default: a fiftieth of them.")
@click.option("--title", help="Title of the picture. Default: what it shows, and the task, if all runs have the same.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The PNG file to write, also over an older picture. Default: a new file, ravine-out/plot-TASK.png.",
)
def command(
    runs: tuple[str, ...],
    scale: Literal["linear", "log"] | None,
    x: Literal["step", "epoch", "seconds"],
    window: int | None,
    title: str | None,
    out: Path | None,
) -> None:
    if out is not None:
        _check_picture(out)
    given = [_split(run) for run in runs]
    recorders = [Recorder.load(path) for _, path in given]
    configs = [_config(path) for _, path in given]
    names = [name or label for (name, _), label in zip(given, _labels([p for _, p in given], configs), strict=True)]
    if len(set(names)) < len(names):
        raise OptionError(f"Two runs have the name {max(names, key=names.count)!r}; name them: first={runs[0]}.")
    if scale is None:
        measured = [
            losses for r in recorders for losses in (r.losses, *([r.column("valid_loss")] if _valid(r) else []))
        ]
        scale = "log" if all((losses[losses == losses] > 0).all() for losses in measured) else "linear"
    tasks = {str(config["task"]) for config in configs if "task" in config}
    task = tasks.pop() if len(tasks) == 1 else ""
    first, *others = recorders
    figure = first.plot_loss(
        dict(zip(names[1:], others, strict=True)),
        label=names[0],
        scale=scale,
        x=x,
        window=window,
        title=title if title is not None else f"{task}: loss" if task else "loss",
    )
    replaced = out is not None and out.exists()
    path = out or files.fresh_file(OUT / f"plot-{Path(task).stem or 'runs'}.png")
    files.make_folder(path.parent)
    files.write(path, png(figure))
    say(f"Replaced the older {path}" if replaced else f"Wrote {path}")


def _check_picture(out: Path) -> None:
    """Raise OptionError where the picture would have a misleading name, or something else would be lost."""
    if out.is_dir():
        raise OptionError(f"--out {out} is a folder; name the picture: --out {out / 'plot.png'}")
    if out.suffix.lower() != ".png":
        raise OptionError(f"--out {out}: the picture is a PNG file; name it so: --out {out.with_suffix('.png')}")
    if out.exists() and not out.read_bytes().startswith(PNG):
        raise OptionError(f"--out {out} is there and is no PNG file: it is left as it is. Name another file.")


def _split(run: str) -> tuple[str, Path]:
    """The name and the path of ``NAME=RUN``; a path that exists is one, whatever stands in it.

    Raises:
        OptionError: there is no such run.
    """
    name, sign, path = run.partition("=")
    named = sign and name and files.found(Path(run), OUT) is None
    return (name, find_run(Path(path))) if named else ("", find_run(Path(run)))


def _config(path: Path) -> dict[str, Any]:
    """The options of the run; none, where the folder does not say."""
    try:
        return run_folder.read_config(path if path.is_dir() else path.parent)
    except DataError:
        return {}


def _valid(recorder: Recorder) -> bool:
    return any("valid_loss" in row for row in recorder.epochs)


def _labels(paths: list[Path], configs: list[dict[str, Any]]) -> list[str]:
    """What tells runs apart: as many of the options in which they differ as that takes; else their folders."""
    parts: list[list[str]] = [[] for _ in configs]
    for key in ("task", "optimizer", "lr", "schedule", "one_cycle", "seed", "epochs"):
        if len({repr(config.get(key)) for config in configs}) > 1:
            for part, config in zip(parts, configs, strict=True):
                part.extend(_text(key, config.get(key)))
        labels = [" ".join(part) for part in parts]
        if len(set(labels)) == len(labels) and all(labels) and all(configs):
            return labels
    return [str(path) for path in paths]


def _text(key: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    return [str(value)] if key in ("task", "optimizer") else [f"{key.replace('_', '-')} {value}"]
