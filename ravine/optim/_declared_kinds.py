"""The kinds of what a class declares with ``Hyper`` and ``Variant``: switches, and texts."""

from __future__ import annotations

from ravine.errors import OptionError, shown


def refuse_no_switch(declared: str, name: str, value: object) -> None:
    """Raise OptionError for a field that is neither True nor False."""
    if not isinstance(value, bool):
        raise OptionError(f"{declared}({name}={shown(value)}): it is a switch, True or False")


def refuse_no_texts(declared: str, name: str, value: object) -> None:
    """Raise OptionError for a field that is no tuple or list of texts."""
    if not isinstance(value, tuple | list) or not all(isinstance(one, str) for one in value):
        instead = repr((value,)) if isinstance(value, str) else "('one', 'another')"
        raise OptionError(f"{declared}({name}={shown(value)}): it is a tuple of texts, {name}={instead}")
