"""Attributes that other libraries have: the AttributeError says the line to write here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar


def by_name(lines: Mapping[str, str]) -> dict[str, str]:
    """The line of each name; given are lines with all their names in one text."""
    return {name: line for line, names in lines.items() for name in names.split()}


class NamesOfOthers:
    """A class that answers an attribute of other libraries with the line to write here, in its AttributeError."""

    _of_others: ClassVar[Mapping[str, str]] = {}

    def _line_for(self, name: str) -> str | None:
        """The line to write for an attribute that is not there."""
        return self._of_others.get(name)

    def _no_attribute(self, name: str, what: str) -> AttributeError:
        """The error where no line is known. Told the name, Python adds the nearest to what it prints."""
        return AttributeError(what, name=name, obj=self)

    if not TYPE_CHECKING:  # for which there is no such attribute

        def __getattr__(self, name: str) -> Any:
            """Called for what is not found.

            Raises:
                AttributeError: always.
            """
            if hasattr(type(self), name):  # a property raised AttributeError itself: that one counts
                return object.__getattribute__(self, name)
            what = f"{type(self).__name__} has no {name}"
            line = self._line_for(name)
            raise AttributeError(f"{what}; write: {line}") if line else self._no_attribute(name, what)
