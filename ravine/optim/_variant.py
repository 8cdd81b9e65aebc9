"""A named setting of an optimizer's options: ``momentum`` is SGD with momentum 0.9. Declared beside the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ravine.optim.search import Range


@dataclass(frozen=True)
class Variant:
    """What a name stands for, beside the class that declares it.

    Attributes:
        options: the options that make it what the name says.
        source: where its formula comes from; empty: the class's ``reference``.
        search: ranges of a comparison beside the class's own.
        rates: learning rates by task where they are not the class's own.
        becomes: names of optimizers that it becomes at some setting, beside the class's own.
        timed: ``ravine bench`` times it unless told otherwise.
    """

    options: Mapping[str, Any]
    source: str = ""
    search: Mapping[str, Range] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    becomes: tuple[str, ...] = ()
    timed: bool = False
