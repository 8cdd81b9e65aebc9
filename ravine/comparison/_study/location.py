"""Where a study is kept and where its report goes: chosen before anything runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ravine import _files as files
from ravine.errors import OptionError, advised

JOURNAL = "study.journal"
OUT = Path("ravine-out")
_LONGEST = 64  # letters of a name


@dataclass(frozen=True)
class Location:
    """A study's name, its storage (a URL, or the path of a journal file), and the folder of its report."""

    study: str
    storage: str
    folder: Path

    def of_task(self, task: str) -> Location:
        """The location of one task's study, of a study of several."""
        return Location(f"{self.study}.{task}", self.storage, self.folder / task)


def default_folder(study: str) -> Path:
    """The folder of a study that was given none."""
    return OUT / study


def place_words(place: Location) -> list[str]:
    """The words of a command line that lead to a study: its name, and folder and storage where they are not by default."""
    words = ["--study", place.study]
    words += ["--out", str(place.folder)] if place.folder != default_folder(place.study) else []
    return words + (["--storage", place.storage] if place.storage != str(place.folder / JOURNAL) else [])


def moved(command: str, place: Location) -> str:
    """A command line of a study, when the study or its report is at another place than where it was made."""
    words, kept = shlex.split(command), list[str]()
    while words:
        word = words.pop(0)
        if word in ("--study", "--out", "--storage"):
            words.pop(0)
        else:
            kept.append(word)
    return shlex.join([*kept, *place_words(place)])


def choose_location(
    tasks: Sequence[str],
    study: str | None,
    storage: str | None,
    out: Path | None,
    may_resume: bool = True,
    make: bool = True,
) -> Location:
    """The location of a study.

    A study that is named, by itself or by its folder, is resumed if it is there; without a name it is a new one.

    Args:
        tasks: the names of the tasks, one or several.
        study: the study's name; its folder is ``ravine-out/NAME``.
        storage: a URL, or the path of a journal file; else the file ``study.journal`` in the folder.
        out: the folder, instead.
        may_resume: whether the study may be there already.
        make: whether its folder is made.

    Raises:
        OptionError: the folder has other things in it, or a study that may not be resumed, or cannot be written.
    """
    # of several tasks each has a study of its own, whose name is this one, perhaps a number, a dot and the task
    room = _LONGEST - (max(map(len, tasks)) + len("-9999.") if len(tasks) > 1 else 0)
    name = files.run_name(study or f"compare-{'-'.join(tasks)}"[: max(1, room)])
    if out is not None:
        folder = out
    elif study is not None or storage is not None:
        folder = default_folder(name)
    else:
        folder = files.fresh(default_folder(name), make=make)
        name = folder.name
    journal = folder / JOURNAL
    resumes = storage is not None or journal.is_file()
    if resumes and not may_resume:
        raise OptionError(
            f"The folder {folder} has a study, which cannot be resumed with a task or an optimizer that only this process "
            "has. Name another folder."
        )
    if out is not None and not resumes and folder.is_dir() and any(folder.iterdir()):
        problem = f"The folder {folder} is not empty, and has no {JOURNAL} to resume."
        raise advised(OptionError, problem, "Name another folder (--out).")
    if make or folder.exists():
        files.claim(folder, force=True)
    return Location(name, storage or str(journal), folder)
