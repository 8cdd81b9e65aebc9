"""What lies in ravine-out: runs and studies with their state, read from their files without torch; and when it is full."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ravine import _files as files
from ravine.cli._screen import say
from ravine.errors import OptionError

OUT = Path("ravine-out")
_OF_RUN = ("metrics.jsonl", "watch.safetensors")
_OF_STUDY = ("study.journal", "results.json")
_MANY = 20  # folders, of which nobody knows what they were
_TAIL = 1 << 18  # bytes at the end of metrics.jsonl, in which the last epoch stands
_NAMED = re.compile(rb'"op_code":0,[^}]*"study_name":"([^"]+)"')
_COMPLETE = re.compile(rb'"op_code":6,[^}]*"state":1\b')


@dataclass(frozen=True)
class Kept:
    """A folder.

    Attributes:
        path: where it is.
        state: how far it is, in words.
        what: its task and optimizers.
    """

    path: Path
    state: str
    what: str


def kept(out: Path = OUT) -> list[Kept]:
    """The runs and studies in a folder, the newest first; a damaged one is named as that."""
    folders = sorted(_folders(out), key=lambda f: f.stat().st_mtime, reverse=True)
    return [one for folder in folders if (one := _read(folder)) is not None]


def many(out: Path = OUT) -> str:
    """A sentence where many runs lie in a folder; else empty."""
    number = sum(1 for _ in _folders(out))
    if number < _MANY:
        return ""
    return f"{out} has {number} runs and studies: `ravine list` shows them. Delete the folders that you do not need."


def size_text(out: Path = OUT) -> str:
    """How much room the folder takes: ``12 MB``."""
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def find_run(given: Path) -> Path:
    """The folder of a run, or a file of it, that a command was given by its path or by its name in ``ravine list``.

    Raises:
        OptionError: there is none, or it is a study.
    """
    folder = files.found(given, OUT, (*_OF_RUN, *_OF_STUDY))
    if folder is None:
        raise missing(given)
    if any((folder / name).is_file() for name in _OF_STUDY):
        raise OptionError(f"{folder} is a study of many trainings, not a run. What it shows: {_report_command(folder)}")
    return folder


def missing(run: Path) -> OptionError:
    """The error for what is not there, with what in ravine-out was meant, if something there has such a name."""
    all_kept = {one.path.name: str(one.path) for one in kept()}
    runs = [name for name in all_kept if (OUT / name / "metrics.jsonl").is_file()]
    what = f"{run} has many runs." if run.exists() else f"There is no run {run}."
    meant = (
        [f"train-{run.name}"] if f"train-{run.name}" in runs else difflib.get_close_matches(run.name, all_kept, 1, 0.8)
    )
    meant = meant or difflib.get_close_matches(run.name, runs, 1)
    hint = (
        f"Did you mean {all_kept[meant[0]]}? `ravine list` shows all."
        if meant
        else "`ravine list` shows those in ravine-out."
    )
    return OptionError(f"{what} {hint}")


def _report_command(folder: Path) -> str:
    """What draws the report of the study in a folder; from Python a study may be called otherwise than its folder."""
    with suppress(OSError):
        names = set(_NAMED.findall((folder / "study.journal").read_bytes()))
        name = names.pop().decode() if len(names) == 1 else folder.name
        if (name, folder.parent) != (folder.name, OUT):
            return f"ravine report {shlex.quote(name)} --out {shlex.quote(str(folder))}"
    return f"ravine report {shlex.quote(folder.name)}"


def _folders(out: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (path for path in out.iterdir() if path.is_dir())


def _read(folder: Path) -> Kept | None:
    """None where the folder is not one of ours."""
    try:
        if (folder / "study.journal").is_file() or (folder / "results.json").is_file():
            return _study(folder)
        config = _json(folder / "config.json")
        what = ", ".join(str(config[name]) for name in ("task", "optimizer") if name in config)
        if (folder / "lr_find.json").is_file():
            return Kept(folder, "done", f"learning rates of {what}")
        if config:
            return Kept(folder, _epochs(folder, config), what)
        paths = folder / "paths.json"
        return Kept(folder, "done", "search paths") if paths.is_file() else None
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return Kept(folder, "damaged", "its files cannot be read")


def _epochs(folder: Path, config: Mapping[str, Any]) -> str:
    """How many of its epochs a run has."""
    done, wanted = 0, config.get("epochs")
    with suppress(FileNotFoundError), (folder / "metrics.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL))
        seen = re.findall(rb'"kind":"epoch","epoch":(\d+)', file.read())
        done = int(seen[-1]) if seen else 0
    if wanted is None or done >= wanted:
        return f"done, {_count(done, 'epoch')}"
    return f"stopped after {done} of {_count(wanted, 'epoch')}"


def _study(folder: Path) -> Kept:
    journal, results = folder / "study.journal", folder / "results.json"
    if not results.is_file() or (journal.is_file() and journal.stat().st_mtime > results.stat().st_mtime + 1):
        trainings = len(_COMPLETE.findall(journal.read_bytes()))
        return Kept(folder, f"{_count(trainings, 'training')}, no report of them yet", _report_command(folder))
    tree = _json(results)
    if tree.get("kind") == "logged runs":
        return Kept(folder, "done", f"logged runs: {', '.join(tree['files'])}")
    parts = tree.get("tasks", [tree])
    done, total = (sum(part["progress"][name] for part in parts) for name in ("done", "total"))
    complete = all(part["progress"]["stage"] == "done" for part in parts)
    state = (
        f"done, {_count(done, 'training')}"
        if complete
        else f"stopped after {done:,} of about {_count(total, 'training')}"
    )
    labels = [one["label"] for one in tree.get("spec", {}).get("optimizers", [])]
    return Kept(folder, state, ", ".join([*(part["task"] for part in parts), *labels]))


def _json(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError):
        tree = json.loads(path.read_bytes())
        if isinstance(tree, dict):
            return tree
        raise ValueError(f"{path} is no object")
    return {}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def say_written(names: Sequence[str], folder: Path, to_open: str) -> None:
    """Say what was written to a folder, and in the last line what to open."""
    if folder.parent == OUT and (crowd := many()):
        say(crowd)
    say(f"Wrote {', '.join(names)} to {folder}")
    say(f"Open {folder / to_open}")
