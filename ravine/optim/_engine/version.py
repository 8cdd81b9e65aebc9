"""One number that says whether an optimizer's plan still holds.

A plan holds the addresses of states. Users replace, delete and reset states between steps, add groups and load state
dicts; to look for that at every step would cost more than a small step itself. So whatever changes raises the
version, and a plan compares one number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch


class Version:
    """A counter that is raised by every change that a plan does not survive."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def bump(self) -> None:
        self.number += 1


class TrackedStates(dict[str, Any]):
    """The states of one parameter; changing what is in it raises the version. Copies and pickles are plain.

    Attributes:
        dtype: the parameter's when the states were last looked at: a state of it follows a cast parameter.
    """

    def __init__(self, states: Mapping[str, Any], version: Version, dtype: torch.dtype) -> None:
        super().__init__(states)
        self._version, self.dtype = version, dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def copy(self) -> dict[str, Any]:
        return dict(self)


class TrackedState(defaultdict[Any, Any]):
    """``optimizer.state``; changing which states there are raises the version. Copies and pickles are plain."""

    def __init__(self, state: Mapping[Any, Any], version: Version) -> None:
        self._version = version
        super().__init__(dict, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return defaultdict, (dict, dict(self))

    def copy(self) -> defaultdict[Any, Any]:  # type: ignore[override]
        return defaultdict(dict, self)


def _bumping(cls: type, name: str) -> Callable[..., Any]:
    change = getattr(cls, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._version.bump()
        return change(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, change.__doc__
    return method


for _cls in (TrackedStates, TrackedState):
    for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
        setattr(_cls, _name, _bumping(_cls.__mro__[1], _name))
