"""In which dtype states are kept (``state_dtype=``), and how a new value is rounded to it (``rounding=``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ravine.errors import OptionError, nearest
from ravine.formula import ParamCopy, Program
from ravine.formula._pieces import Reduced
from ravine.formula._rounding import AT_RANDOM, KEY
from ravine.optim._common import Rounding

#: What ``state_dtype`` may say.
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class StateStorage:
    """How an optimizer keeps its states.

    Attributes:
        every: the dtype of all states that have the shape of their parameter and are no copy of it; None: the parameter's.
        named: of the states that are named, the dtype, which goes before.
        rounding: to the nearest number, or to one of the two around it by chance.
        first: what is added to the places of parameters, where they are stepped one by one.
    """

    every: torch.dtype | None = None
    named: tuple[tuple[str, torch.dtype], ...] = ()
    rounding: Rounding = "nearest"
    first: int = field(default=0, compare=False)

    def dtype(self, name: str, initial: Any) -> torch.dtype | None:
        """The dtype of a state by its name and initial value; None: that which it has by itself."""
        own = dict(self.named).get(name)
        if own is not None or isinstance(initial, ParamCopy | Reduced):
            return own
        return self.every

    def at_random(self, name: str, initial: Any) -> str:
        """To which dtype a new value of a state is rounded at random; empty: to none."""
        dtype = self.dtype(name, initial)
        known = next((text for text, one in DTYPES.items() if one is dtype), "")
        return known if self.rounding == "stochastic" and known in AT_RANDOM else ""

    def check(self, programs: Iterable[Program]) -> None:
        """Raise OptionError for a state that is named, and that no formula has."""
        states = {name for program in programs for name in program.states}
        for name, _ in self.named:
            if name not in states:
                raise OptionError(f"state_dtype names the state {name!r}. {nearest(name, sorted(states))}")

    @property
    def narrow(self) -> Callable[[str, Any], str] | None:
        """:meth:`at_random`, where anything is rounded so: part of what a program is made of."""
        return self.at_random if self.rounding == "stochastic" else None

    def key(self, place: int) -> Tensor:
        """The key of random bits of a parameter, by its place among all: from torch's seed, so that a run can be repeated."""
        return torch.tensor(
            float((torch.initial_seed() * 1_000_003 + (self.first + place) * 7_919) % (1 << 32)), dtype=torch.float64
        )


def places_of(groups: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """The place of each parameter among all, by its id."""
    return {id(p): i for i, p in enumerate(p for group in groups for p in group["params"])}


def storage_of(state_dtype: object, rounding: object) -> StateStorage:
    """The storage that two options ask for.

    Raises:
        OptionError: one has a value that it cannot have.
    """
    if rounding not in ("nearest", "stochastic"):
        raise OptionError(f"rounding={rounding!r}: it is 'nearest' or 'stochastic'")
    every: torch.dtype | None = None
    named: tuple[tuple[str, torch.dtype], ...] = ()
    if isinstance(state_dtype, Mapping):
        named = tuple(sorted((str(name), _dtype(one, f"state_dtype[{name!r}]")) for name, one in state_dtype.items()))
    elif state_dtype is not None:
        every = _dtype(state_dtype, "state_dtype")
    return StateStorage(every, named, "stochastic" if rounding == "stochastic" else "nearest")


def _dtype(value: object, what: str) -> torch.dtype:
    if isinstance(value, torch.dtype) and value in DTYPES.values():
        return value
    if isinstance(value, str) and value in DTYPES:
        return DTYPES[value]
    names = ", ".join(map(repr, DTYPES))
    raise OptionError(f"{what}={value!r}: it is one of {names}, the same as torch's dtypes, or a dict of them by state")


def widened(tree: dict[str, Any]) -> dict[str, Any]:
    """A state dict whose states of 16 bits are float32, and without the keys of random bits."""

    def wide(value: Any) -> Any:
        narrow = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if narrow else value

    state = {i: {n: wide(v) for n, v in kept.items() if n != KEY} for i, kept in tree["state"].items()}
    return {**tree, "state": state}
