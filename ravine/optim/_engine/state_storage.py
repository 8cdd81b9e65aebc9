"""In which dtype states are kept (``state_dtype=``), and how a new value is rounded to it (``rounding=``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ravine.backends._eight_bits import SCALES, SIGNED, SQUARES, decode, empty_scales, encode, is_code
from ravine.errors import OptionError, ParameterError, nearest
from ravine.formula import ParamCopy, Program
from ravine.formula._operations import ROUNDED_BITS
from ravine.formula._pieces import Reduced, Squares
from ravine.formula._rounding import KEY, NOT_ROUNDED, mixed
from ravine.optim._common import Rounding

#: What ``state_dtype`` may say.
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "8bit": SIGNED}
#: Tensors with fewer elements keep float32 where 8 bits were asked for: their bytes are few.
FEWEST = 4096


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

    def of(self, name: str, initial: Any, p: Tensor) -> torch.dtype | None:
        """The dtype of a state of a parameter: codes are for many elements, and of squares without a sign."""
        dtype = self.dtype(name, initial)
        if dtype is torch.float16 and isinstance(initial, Squares):
            return torch.float32  # those of small gradients are 0 in float16, and steps divide by their root
        if dtype is None or not is_code(dtype):
            return dtype
        if p.numel() < FEWEST:
            return torch.float32 if p.dtype in (torch.bfloat16, torch.float16) else None
        return SQUARES if isinstance(initial, Squares) else SIGNED

    def __call__(self, name: str, initial: Any) -> tuple[str, bool]:
        """To what a new value of a state is rounded before it is stored (``formula/_rounding.py``), and whether at random.

        Nothing, as an empty text, is rounded where the tensor that it is written to does so.
        """
        dtype, at_random = self.dtype(name, initial), self.rounding == "stochastic"
        if dtype is torch.float16 and isinstance(initial, Squares):
            return "", False
        if dtype is SIGNED:
            return ("squares" if isinstance(initial, Squares) else "signed"), at_random
        known = next((text for text, one in DTYPES.items() if one is dtype), "")
        return (known if at_random and known in ROUNDED_BITS else ""), at_random

    @property
    def codes(self) -> bool:
        """Whether any state is codes of 8 bits."""
        return self.every is SIGNED or any(dtype is SIGNED for _, dtype in self.named)

    def check(self, programs: Iterable[Program]) -> None:
        """Raise OptionError for a state that is named, and that no formula has."""
        programs = list(programs)
        states = {name for program in programs for name in program.states}
        for name, _ in self.named:
            if name not in states:
                raise OptionError(f"state_dtype names the state {name!r}. {nearest(name, sorted(states))}")
        for name, dtype in self.named:
            if dtype is torch.float16 and any(isinstance(program.states.get(name), Squares) for program in programs):
                raise OptionError(
                    f"state_dtype={{{name!r}: 'float16'}}: {name} is of squares, which are 0 in float16 for gradients below 2e-4: take "
                    "'bfloat16' or '8bit'"
                )

    @property
    def narrow(self) -> Callable[[str, Any], tuple[str, bool]] | None:
        """This, where anything is rounded as it says when it is called: part of what a program is made of."""
        return self if self.rounding == "stochastic" or self.codes else None

    def key(self, place: int, p: Tensor, known: Any) -> Any:
        """The key of random bits of a parameter; ``known``: that which it has, or None.

        From the parameter's place among all: processes that train the same model round it alike. Or one that says not to round.
        """
        key = NOT_ROUNDED
        if not (self.codes and p.numel() < FEWEST):
            key = mixed(0.0, float(self.first + place + 1))
        if known is not None and key >= 0 and float(known) >= 0:
            return known
        return torch.tensor(key, dtype=torch.float64)

    @torch.no_grad()
    def fitted(self, name: str, initial: Any, p: Tensor, states: Mapping[str, Any]) -> dict[str, Any]:
        """What a state and its scales become, where it is to be codes, or is codes and is not to be."""
        state, wanted = states[name], self.of(name, initial, p)
        as_codes = wanted is not None and is_code(wanted)
        if not is_code(state.dtype) and not as_codes:
            return {}
        laid_out = torch.empty_like(p.detach(), dtype=wanted or torch.float32)
        if is_code(state.dtype):
            scales = states.get(name + SCALES)
            if scales is None or scales.shape != empty_scales(state).shape:
                raise ParameterError(
                    f"the state {name} is codes of 8 bits, and there are no scales that fit it under {name + SCALES!r}: load both"
                )
            if (
                state.dtype is wanted
                and state.stride() == laid_out.stride()
                and state.device == p.device == scales.device
            ):
                return {}
            state = decode(state, scales.to(state.device))
        if not as_codes:
            return {name: state.to(p.device), name + SCALES: None}
        laid_out.zero_()
        made = {name: laid_out, name + SCALES: empty_scales(laid_out)}
        encode(state.to(p.device), *made.values())
        return made


def places_of(groups: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """The place of each parameter among all, by its id."""
    return {id(p): i for i, p in enumerate(p for group in groups for p in group["params"])}


def storage_of(state_dtype: object, rounding: object) -> StateStorage:
    """The storage that two options ask for.

    Raises:
        OptionError: one has a value that it cannot have.
    """
    if rounding not in ("nearest", "stochastic", None):
        raise OptionError(f"rounding={rounding!r}: it is 'nearest' or 'stochastic'")
    every: torch.dtype | None = None
    named: tuple[tuple[str, torch.dtype], ...] = ()
    if isinstance(state_dtype, Mapping):
        named = tuple(sorted((str(name), _dtype(one, f"state_dtype[{name!r}]")) for name, one in state_dtype.items()))
    elif state_dtype is not None:
        every = _dtype(state_dtype, "state_dtype")
    made = StateStorage(every, named, "stochastic")
    return made if rounding == "stochastic" or (rounding is None and made.codes) else replace(made, rounding="nearest")


def _dtype(value: object, what: str) -> torch.dtype:
    if isinstance(value, torch.dtype) and value in DTYPES.values() and not is_code(value):
        return value
    if isinstance(value, str) and value in DTYPES:
        return DTYPES[value]
    names = ", ".join(map(repr, DTYPES))
    raise OptionError(f"{what}={value!r}: it is one of {names}, torch.float32 and its like, or a dict of them by state")


def widened(tree: dict[str, Any]) -> dict[str, Any]:
    """A state dict whose states of 16 and 8 bits are float32, and without scales and the keys of random bits."""

    def wide(name: str, kept: Mapping[str, Any]) -> Any:
        value = kept[name]
        if not isinstance(value, Tensor):
            return value
        if is_code(value.dtype) and name + SCALES in kept:
            return decode(value, kept[name + SCALES])
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value

    def of_codes(name: str, kept: Mapping[str, Any]) -> bool:
        base = kept.get(name.removesuffix(SCALES))
        return name.endswith(SCALES) and isinstance(base, Tensor) and is_code(base.dtype)

    state = {
        i: {n: wide(n, kept) for n in kept if n != KEY and not of_codes(n, kept)} for i, kept in tree["state"].items()
    }
    return {**tree, "state": state}
