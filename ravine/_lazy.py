"""The face of a package: the names it exports, imported when they are first asked for.

So that ``import ravine`` stays quick and ``dir(ravine)`` shows what there is. Type checkers read the imports that
stand under ``TYPE_CHECKING`` beside each call.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str,
    names: Mapping[str, str] | None = None,
    submodules: tuple[str, ...] = (),
    eager: tuple[str, ...] = (),
    of_others: str = "",
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        names: for each name that is exported, the module that defines it.
        submodules: submodules that are found without an import of their own.
        eager: exported names that the package has already.
        of_others: a module whose ``OF_PACKAGE`` says what to write for names that other libraries have.
    """
    names = dict(names or {})
    listed = sorted({*names, *submodules, *eager})

    def get(name: str) -> Any:
        if name in names:
            return getattr(import_module(names[name]), name)
        if name in submodules:
            return import_module(f"{package}.{name}")
        line = import_module(of_others).OF_PACKAGE.get(name) if of_others else None
        where = f"; write: {line}" if line else _where(name, package, listed)
        raise missing(package, f"module {package!r} has no attribute {name!r}{where}")

    return get, lambda: list(listed)


def missing(package: str, message: str) -> AttributeError | ImportError:
    """The error to raise for a name that a package does not have.

    Where the name was imported (``from ravine.optim import RMSProp``) Python replaces an AttributeError, and what it says, by
    "cannot import name"; so there it is an ImportError that says the same.
    """
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "ravine":
        frame = frame.f_back
    code, at = frame.f_code.co_code, frame.f_lasti
    if 0 <= at < len(code) and opcode.opname[code[at]] == "IMPORT_FROM":
        return ImportError(message, name=package)
    return AttributeError(message, name=None, obj=None)  # told the name, Python would add a guess of its own


_ROOMS = ("train", "watch", "diagnose", "tasks", "comparison", "contour", "errors", "formula", "optim")


def _where(name: str, package: str, listed: list[str]) -> str:
    """What helps with a name that a package does not have: the one that has it, or the nearest name."""
    if name.startswith("_"):  # a protocol that somebody probes for
        return ""
    for room in _ROOMS:
        if name in import_module(f"ravine.{room}").__all__:
            return f"; ravine.{room} has it: from ravine.{room} import {name}"
    nearest = import_module("ravine.errors").nearest  # which takes a hundredth of a second to import
    return f". {nearest(name, listed)}".rstrip(". ")
