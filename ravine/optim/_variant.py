"""A named setting of an optimizer's options: ``momentum`` is SGD with momentum 0.9. Declared beside the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ravine.errors import OptionError, shown
from ravine.formula._pieces import is_plain_number
from ravine.optim._declared_kinds import refuse_no_switch
from ravine.optim.search import Range


@dataclass(frozen=True)
class Variant:
    """What a name stands for, beside the class that declares it.

    Attributes:
        options: the options that make it what the name says.
        source: where its formula comes from; empty: the class's ``reference``.
        search: ranges of a comparison beside the class's own.
        rates: learning rates by task where they are not the class's own.
        becomes: optimizers that it becomes, each with the setting that leads there, beside the class's own.
        timed: ``ravine bench`` times it unless told otherwise.

    Raises:
        OptionError: one of these is of another kind.
    """

    options: Mapping[str, Any]
    source: str = ""
    search: Mapping[str, Range] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    becomes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    timed: bool = False

    def __post_init__(self) -> None:
        self._refuse_other("options", {"momentum": 0.9}, lambda value: True)
        if not isinstance(self.source, str):
            raise OptionError(f"Variant(source={shown(self.source)}): it is a text, where the formula comes from")
        self._refuse_other("search", "{'lr': log(1e-5, 0.1)}", lambda value: isinstance(value, Range))
        self._refuse_other("rates", {"digits": 0.01}, is_plain_number)
        self._refuse_other("becomes", {"sgd": {"momentum": 0.0}}, _is_setting)
        refuse_no_switch("Variant", "timed", self.timed)

    def _refuse_other(self, name: str, example: object, allows: Callable[[object], bool]) -> None:
        """Raise OptionError for a field that is no dict of such values by names."""
        given = getattr(self, name)
        if not isinstance(given, Mapping) or not all(isinstance(key, str) and allows(given[key]) for key in given):
            raise OptionError(f"Variant({name}={shown(given)}): it is a dict by name, such as {example}")


def _is_setting(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(n, str) and is_plain_number(v) for n, v in value.items())
