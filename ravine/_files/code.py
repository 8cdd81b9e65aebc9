"""A Python file of the user's own, run: a task, a function to draw, an optimizer.

It is run as ``python FILE`` would run it, but under another name than ``__main__``: name only files that you trust.
What it raises is told in the user's terms, with the line.
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
    """A short name of a file's content: another content has another."""
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"


@contextmanager
def beside(path: Path) -> Iterator[None]:
    """The file's folder is where modules are sought first."""
    folder = str(path.parent)
    importlib.invalidate_caches()  # a module written a moment ago is found
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the file may have taken it away
            sys.path.remove(folder)


def run(path: Path, role: str, content: bytes | None = None) -> ModuleType:
    """The file as a module, run afresh; nothing is written beside it.

    Args:
        path: the file.
        role: what it is for, a word: a file that has two roles is a module for each.
        content: what the file holds, if that has been read.

    Raises:
        DataError: it raises, or cannot be read.
    """
    with explained(path):
        content = path.read_bytes() if content is None else content
        # Files of one name in several folders, or one that was changed, do not take each other's place.
        unique = hashlib.sha256(bytes(path) + b"\0" + content).hexdigest()[:8]
        module = ModuleType(f"ravine_{role}_{path.stem}_{unique}")
        module.__file__ = str(path)
        code = compile(content, str(path), "exec")
        sys.modules[module.__name__] = module  # dataclasses and pickle look there
        exec(code, vars(module))
    return module


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the file raises as a DataError: the error, and the last line of the file that led to it."""
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
    """The last line of the file that led to an error; None if none did."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
