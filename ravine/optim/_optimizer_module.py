"""An optimizer from a module that can be imported: ``package.module:MyRule``."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ravine._files import code
from ravine.errors import DataError, OptionError, an

_INSTALLED = ("ravine", "torch")  # packages whose versions are known anyway


def split(text: str) -> tuple[str, str, str] | None:
    """The module, the name in it and the text of the options; None if the text does not name a module that is there."""
    match = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(?::(.*))?", text.strip(), re.DOTALL)
    if match is None or not is_there(match[1]):
        return None
    return match[1], match[2], match[3] or ""


def is_there(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return module in sys.modules or find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def load(module: str, name: str = "") -> Any:
    """The class or function of that name; without a name, the module itself.

    Raises:
        DataError: the module raises while it is imported.
        OptionError: there is no such name, or nothing that makes an optimizer.
    """
    try:
        value: Any = importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises
        raise DataError(f"The module {module} cannot be imported: {type(error).__name__}: {error}") from error
    for part in name.split(".") if name else ():
        if not hasattr(value, part):
            raise OptionError(f"The module {module} has no {name!r}.")
        value = getattr(value, part)
    if name and not callable(value):
        raise OptionError(
            f"{name} in {module} is {an(type(value).__name__)}: name a class of optimizers, or a function."
        )
    return value


def version_and_path(module: str) -> tuple[str, str]:
    """The version of a module's content, and its file; both empty where it has no file or a package's version says it.

    Raises:
        DataError: the file cannot be read.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or module.partition(".")[0] in _INSTALLED:
        return "", file or ""
    path = Path(file)
    with code.explained(path):
        return code.version(path.read_bytes()), str(path)
