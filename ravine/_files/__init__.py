"""Folders and files that a run writes: chosen before training, and written whole or not at all.

This file knows no format. checkpoint.py stores trees of tensors, json_lines.py a growing file of records, code.py
runs a Python file of the user, and private_folder.py tells whether others can write to a folder.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ravine.errors import OptionError, advised, for_both

_MOST_SIBLINGS = 10_000
_STALE = 3600.0  # seconds: no writer goes this long without touching the file it writes


def run_name(text: str) -> str:
    """The name of a run or a study, checked: ``text`` itself.

    Raises:
        OptionError: it is not 1 to 64 of the letters A-Z and a-z, digits, ``.``, ``_`` and ``-``, or begins with a
            dot. Such a name is valid on every system, and never leads out of its folder.
    """
    if re.fullmatch(r"(?!\.)[A-Za-z0-9._-]{1,64}", text):
        return text
    raise OptionError(
        f"{text!r} cannot be a name: use 1 to 64 of A-Z, a-z, 0-9, dot, underscore and hyphen, not beginning with a dot."
    )


def found(given: Path, out: Path, holding: Iterable[str] = ()) -> Path | None:
    """What is meant by a word of a command: what is at that path, or else what ``out`` has under that name.

    Args:
        given: the word.
        out: the folder of runs and studies, which itself is neither.
        holding: names of files; a folder with one of them is meant rather than one without.
    """
    places = [given, *([out / given] if len(given.parts) == 1 else [])]
    there = [place for place in places if place.exists() and place.resolve() != out.resolve()]
    names = list(holding)
    return next((p for p in there if any((p / name).exists() for name in names)), there[0] if there else None)


def fresh(wanted: Path, *, make: bool = True) -> Path:
    """Make the folder ``wanted``, or if it is there ``wanted-2``, ``wanted-3`` and so on, and return it.

    The folder is always a new one: two runs started at once get two folders. Without ``make`` it is only named.

    Raises:
        OptionError: no folder can be made there.
    """
    for number in range(1, _MOST_SIBLINGS):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            if make:
                folder.mkdir(parents=True)
            elif folder.exists():
                raise FileExistsError
        except FileExistsError:
            if not wanted.parent.is_dir():  # the parent is a file: no number helps
                raise _unwritable(wanted, f"{wanted.parent} is not a folder") from None
            continue
        except OSError as error:
            raise _unwritable(folder, error.strerror) from error
        return folder
    problem = f"{wanted} and {_MOST_SIBLINGS - 2} numbered siblings exist;"
    raise advised(OptionError, problem, "remove some, or name another folder (--out).")


def fresh_file(wanted: Path) -> Path:
    """Make the empty file ``wanted``, or if it is there ``NAME-2``, ``NAME-3`` and so on, and return it; folders are made.

    Raises:
        OptionError: no file can be made there.
    """
    make_folder(wanted.parent)
    for number in range(1, _MOST_SIBLINGS):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        except OSError as error:
            raise OptionError(f"{path} cannot be written: {error.strerror}.") from error
        return path
    raise OptionError(
        f"{wanted} and {_MOST_SIBLINGS - 2} numbered siblings exist; remove some, or name another (--out)."
    )


def claim(folder: Path, force: bool, or_else: str = "") -> Path:
    """Check that exactly ``folder`` can be written, and return it; ``or_else`` ends the advice if it is not empty.

    Raises:
        OptionError: it is not empty and ``force`` is not set, or it cannot be written. With ``force`` the
            files of an earlier run are replaced one by one; others stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is not a folder" if os.path.exists(folder) and not folder.is_dir() else error.strerror
        raise _unwritable(folder, reason) from error
    if occupied and not force:
        raise OptionError(f"The folder {folder} is not empty. Name another (--out){or_else}.")
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder and those that it is in, if they are not there.

    Raises:
        OptionError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error


def write(path: Path, content: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file whole or not at all: a reader sees either the old or the new one.

    That is so even if this process is killed or the machine loses power. A file ``.NAME-XXXXXXXX.tmp`` that a killed
    writer has left is removed by the first write of the same file an hour later.

    Args:
        path: the file; its folder must exist.
        content: all of it, or its parts in order, which are not concatenated in memory.

    Raises:
        OptionError: the disk is full, the folder cannot be written, or there is a device or a pipe; an older file is still there.
    """
    check_file(path)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            for part in [content] if isinstance(content, bytes) else content:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        now = os.stat(temporary).st_mtime
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are for the owner alone
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        reason = "it is a folder. Name a file" if path.is_dir() else error.strerror
        raise OptionError(f"{path} cannot be written: {reason}.") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    sync_folder(path.parent)
    _remove_stale(path, now)


def check_file(path: Path) -> None:
    """Refuse what is no file, and so would be lost by being replaced: a device, a pipe, or a name of one that is open.

    Raises:
        OptionError: it is one.
    """
    # /dev/stdout is a link to an open file, even where that is a regular one
    leads_to = [os.path.realpath(path.parent), *([os.readlink(path)] if path.is_symlink() else [])]
    special = path.exists() and not (path.is_file() or path.is_dir())
    if special or any(place.startswith("/proc/") for place in leads_to):
        raise OptionError(f"{path} is a device or a pipe, which cannot be replaced. Name a file.")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, if the system can."""
    # without it, the old or the new name survives, and both are of whole files: no reason to fail
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_stale(path: Path, now: float) -> None:
    """Remove what killed writers of ``path`` have left; ``now`` is the time of the disk, which may differ from ours."""
    ours = re.compile(re.escape(f".{path.name}-") + r"[a-z0-9_]{8}\.tmp")
    with suppress(OSError), os.scandir(path.parent) as entries:  # the file is safe: cleaning up can wait
        for entry in entries:
            if ours.fullmatch(entry.name) and now - entry.stat().st_mtime > _STALE:
                os.unlink(entry)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(folder: Path, reason: str | None) -> OptionError:
    advice = f"The folder {folder} cannot be written: {reason}. Name another"
    return for_both(OptionError(f"{advice}."), f"{advice} (--out).")
