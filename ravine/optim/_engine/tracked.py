"""The dict of a parameter's states, which tells its plan when somebody changes what is in it.

A plan holds the addresses of states. Users may replace, delete or reset states between steps; to look for that at
every step would cost more than a small step itself, so the dict says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class KeptStates(dict[str, Any]):
    """A dict that empties ``sign``, a list shared with the plan, when it is changed; copies and pickles are plain."""

    def __init__(self, states: Mapping[str, Any], sign: list[bool]) -> None:
        super().__init__(states)
        self._sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def copy(self) -> dict[str, Any]:
        return dict(self)


def _telling(name: str) -> Callable[..., Any]:
    change = getattr(dict, name)

    def method(self: KeptStates, *args: Any, **kwargs: Any) -> Any:
        self._sign.clear()
        return change(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, change.__doc__
    return method


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(KeptStates, _name, _telling(_name))
