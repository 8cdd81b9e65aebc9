"""Runs a Python file of the user: a task, a function to draw, an optimizer.

It is run as ``python FILE`` would run it, but under another name than ``__main__``: name only files that you trust.
Errors of the file are reported with its line.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ravine.errors import DataError


def version(content: bytes) -> str:
    """A short name of a file's content, by its hash."""
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"


@contextmanager
def beside(path: Path) -> Iterator[None]:
    """Inside, modules are searched in the file's folder first."""
    folder = str(path.parent)
    importlib.invalidate_caches()  # so that a module written a moment ago is found
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the file may have taken it away
            sys.path.remove(folder)


def run(path: Path, role: str, content: bytes | None = None) -> ModuleType:
    """The file as a module, run again each time; nothing is written next to it.

    Args:
        path: the file.
        role: a word for its purpose: a file that serves two purposes becomes two modules.
        content: the file's content, if it has been read already.

    Raises:
        DataError: it raises, or cannot be read.
    """
    with explained(path):
        content = path.read_bytes() if content is None else content
        # files of the same name in other folders, or a changed file, become other modules
        unique = hashlib.sha256(bytes(path) + b"\0" + content).hexdigest()[:8]
        module = ModuleType(f"ravine_{role}_{path.stem}_{unique}")
        module.__file__ = str(path)
        code = compile(content, str(path), "exec")
        sys.modules[module.__name__] = module  # dataclasses and pickle look there
        exec(code, vars(module))
    return module


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of the file become a DataError with the last line of the file that led to it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        line, text = last_line(path, error), str(error)
        if isinstance(error, SyntaxError) and error.filename == str(path):
            line, text = error.lineno, error.msg
        place = str(path) if line is None else f"{path}, line {line}"
        reason = f"{type(error).__name__}: {textwrap.shorten(text, 300)}" if text else type(error).__name__
        raise DataError(f"{place}: {reason}") from error


def last_line(path: Path, error: BaseException) -> int | None:
    """The last line of the file in an error's traceback; None if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
