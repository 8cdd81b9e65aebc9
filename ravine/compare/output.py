"""The folder a comparison writes: chosen before training so that nothing is trained in vain or overwritten."""

import os
import tempfile
from pathlib import Path

from ravine.errors import OptionError

_MOST_SIBLINGS = 10_000


def fresh(wanted: Path) -> Path:
    """Make the folder ``wanted``, or if it is there ``wanted-2``, ``wanted-3`` and so on, and return it.

    The folder is always a new one: two comparisons started at once get two folders.
    """
    for number in range(1, _MOST_SIBLINGS):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not wanted.parent.is_dir():  # a file stands where the parent should be: no number helps
                raise OptionError(_unwritable(wanted, f"{wanted.parent} is no folder")) from None
            continue
        except OSError as error:
            raise OptionError(_unwritable(folder, error.strerror)) from error
        return folder
    raise OptionError(
        f"{wanted} and {_MOST_SIBLINGS - 2} numbered siblings exist; clear some, or name a folder with --out."
    )


def claim(folder: Path, force: bool) -> Path:
    """Make sure that exactly ``folder`` can be written, and return it.

    Raises:
        OptionError: it is not empty and ``force`` is not set, or it cannot be written. With ``force`` the
            files of an earlier comparison are replaced one by one; others stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is no folder" if folder.exists() and not folder.is_dir() else error.strerror
        raise OptionError(_unwritable(folder, reason)) from error
    if occupied and not force:
        raise OptionError(
            f"The folder {folder} is not empty. Name another with --out, "
            "or add --force to replace an earlier comparison in it."
        )
    return folder


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader sees the old one or the new one, whenever it looks.

    Raises:
        OptionError: the disk is full or the folder cannot be written; an older file is still there.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are for the owner alone
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(folder: Path, reason: str | None) -> str:
    return f"The folder {folder} cannot be written: {reason}. Name another with --out."
