"""Optimizers by name, for the command line and for whatever runs over all of them.

Every class that ``ravine.optim`` exports is here by itself; special cases that have a name of their own are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import ravine.optim
from ravine.errors import OptionError, nearest
from ravine.optim._dialects import DIALECTS
from ravine.optim._optimizer import Optimizer

_MOMENTUM = {"momentum": (0.0, 0.99, "complement")}


@dataclass(frozen=True)
class Named:
    """An optimizer by name.

    Attributes:
        name, cls, source: how it is called, its class, and where its formula comes from.
        options: what makes it what the name says.
        search: what a comparison searches beside the class's own.
    """

    name: str
    cls: type[Optimizer]
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@cache
def _all() -> dict[str, Named]:
    sgd = ravine.optim.SGD
    classes = [getattr(ravine.optim, name) for name in ravine.optim.__all__ if name != "Optimizer"]
    found = [Named(c.__name__.lower(), c, c.reference) for c in classes]
    found += [
        Named("momentum", sgd, sgd.reference, {"momentum": 0.9}, _MOMENTUM),
        Named("nesterov", sgd, sgd.reference, {"momentum": 0.9, "nesterov": True}, _MOMENTUM),
        *(
            Named(f"rmsprop-{name}", ravine.optim.RMSprop, f"{d.source} (a dialect of RMSprop)", d.options)
            for name, d in DIALECTS.items()
        ),
    ]
    return {n.name: n for n in found}


def classes() -> list[type[Optimizer]]:
    """The named optimizers, each class once."""
    return list(dict.fromkeys(n.cls for n in _all().values()))


def names() -> list[str]:
    """Every name that ``lookup`` knows."""
    return list(_all())


def lookup(name: str) -> Named:
    """The optimizer of that name, in any case.

    Raises:
        OptionError: there is none; names the nearest.
    """
    found = _all().get(name.lower())
    if found is None:
        raise OptionError(f"there is no optimizer {name!r}. {nearest(name.lower(), _all())}")
    return found
