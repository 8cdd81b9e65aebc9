"""Optimizers by name, for the command line and for whatever runs over all of them.

Every class that ``ravine.optim`` exports is here by itself, and so are its variants. All that is known of them is
declared in their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import ravine.optim
from ravine.errors import OptionError, nearest
from ravine.optim._hyperparameters import hypers_of, search_of
from ravine.optim._optimizer import Optimizer
from ravine.optim._variant import Variant
from ravine.optim.search import Range

#: Tasks that take the learning rates of another one: the networks that take minutes were not tried.
_LIKE = {"fashion-mnist": ("mnist", "fashion-mnist-", "imagenette-", "text-gpt")}


@dataclass(frozen=True)
class Named:
    """An optimizer by name.

    Attributes:
        name, cls, source: how it is called, its class, and where its formula comes from.
        options: what makes it what the name says.
        search: what a comparison searches.
        rates: a learning rate for a first look, by task.
        becomes: optimizers that it becomes, each with the setting that leads there.
        timed: ``ravine bench`` times it unless told otherwise.
    """

    name: str
    cls: type[Optimizer]
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Range] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    becomes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    timed: bool = True

    def rate(self, task: str) -> float | None:
        """The learning rate for a first look at this task, or None: then the optimizer's own default."""
        like = next((row for row, names in _LIKE.items() if task.startswith(names)), task)
        return self.rates.get(like)


def search_space(factory: Any) -> dict[str, Range]:
    """What a comparison searches of a class or a function that makes optimizers, the user's own too.

    Raises:
        OptionError: ``hypers`` does not say it as it should.
    """
    declared = hypers_of(factory) if isinstance(factory, type) else {}
    return search_of({"lr": Optimizer.hypers["lr"], **declared})


@cache
def _all() -> dict[str, Named]:
    by_name: dict[str, Named] = {}
    for cls in (getattr(ravine.optim, name) for name in ravine.optim.__all__):
        if not (isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer):
            continue
        search, name = search_space(cls), cls.__name__.lower()
        by_name[name] = Named(name, cls, cls.reference, {}, search, cls.rates, cls.becomes)
        variants: Mapping[str, Variant] = vars(cls).get("variants", {})
        for name, v in variants.items():
            rates, becomes = {**cls.rates, **v.rates}, {**cls.becomes, **v.becomes}
            source, ranges = v.source or cls.reference, {**search, **v.search}
            by_name[name] = Named(name, cls, source, v.options, ranges, rates, becomes, v.timed)
    return by_name


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
    named = _all().get(name.lower())
    if named is None:
        raise OptionError(f"there is no optimizer {name!r}. {nearest(name.lower(), _all())}")
    return named
