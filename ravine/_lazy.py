"""The face of a package: the names it exports, imported when they are first asked for.

So that ``import ravine`` stays quick and ``dir(ravine)`` shows what there is. Type checkers read the imports that
stand under ``TYPE_CHECKING`` beside each call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    package: str, names: Mapping[str, str] | None = None, submodules: tuple[str, ...] = (), eager: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        names: for each name that is exported, the module that defines it.
        submodules: submodules that are found without an import of their own.
        eager: exported names that the package has already.
    """
    names = dict(names or {})
    listed = sorted({*names, *submodules, *eager})

    def get(name: str) -> Any:
        if name in names:
            return getattr(import_module(names[name]), name)
        if name in submodules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}{_where(name, package, listed)}")

    return get, lambda: list(listed)


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
