"""Where a study is kept and where its report goes: chosen before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ravine import _files as files
from ravine.errors import OptionError

JOURNAL = "study.journal"
_OUT = Path("ravine-out")


@dataclass(frozen=True)
class Place:
    """A study's name, its storage (a URL, or the path of a journal file), and the folder of its report."""

    study: str
    storage: str
    folder: Path


def usual(study: str) -> Path:
    """The folder of a study that was given none."""
    return _OUT / study


def choose(task: str, study: str | None, storage: str | None, out: Path | None) -> Place:
    """The place of a study, whose folder is made.

    A study that was named, by itself or by its folder, is gone on with if it is there; without a name it is a new one.

    Args:
        task: the task's name.
        study: the study's name; its folder is ``ravine-out/NAME``.
        storage: a URL, or the path of a journal file; else the file ``study.journal`` in the folder.
        out: the folder, instead.

    Raises:
        OptionError: the folder has other things in it, or cannot be written.
    """
    name = files.run_name(study or f"compare-{task}"[:64])
    if out is not None:
        folder = out
    elif study is not None or storage is not None:
        folder = usual(name)
    else:
        folder = files.fresh(usual(name))
        name = folder.name
    kept = storage or str(folder / JOURNAL)
    begun = storage is not None or (folder / JOURNAL).is_file()
    if out is not None and not begun and folder.is_dir() and any(folder.iterdir()):
        raise OptionError(f"The folder {folder} is not empty and has no {JOURNAL} to go on with. Name another (--out).")
    files.claim(folder, force=True)
    return Place(name, kept, folder)
