"""What can be trained: real data and test functions, each a :class:`Task`, found by its name.

Knows how a task is trained; no comparison and no command line.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ravine.errors import OptionError, nearest
from ravine.tasks import digits, functions, images
from ravine.tasks.task import Data, Surface, Task

__all__ = ["Data", "Surface", "Task", "find", "names"]

_WITHOUT_FILES: dict[str, Callable[[], Task]] = {
    "digits": digits.task,
    **{name: partial(functions.task, name) for name in functions.SURFACES},
}


def names() -> list[str]:
    """The names of all tasks, in the order they are worth trying."""
    return ["digits", *images.SOURCES, *functions.SURFACES]


def find(name: str, data: Path | None = None) -> Task:
    """The task of that name.

    Args:
        name: one of :func:`names`.
        data: the folder with the files of a task that reads files; without it they are looked for in
            the usual places and then downloaded.

    Raises:
        OptionError: there is no such task, or it reads no files and ``data`` was given.
        DataError: the files are missing or damaged.
    """
    if name in images.SOURCES:
        return images.task(name, data)
    if name not in _WITHOUT_FILES:
        raise OptionError(f"There is no task {name!r}. {nearest(name, names())}")
    if data is not None:
        reading = " and ".join(images.SOURCES)
        raise OptionError(f"The task {name!r} reads no files; a data folder is for {reading}.")
    return _WITHOUT_FILES[name]()
