"""In which dtype states are kept (``state_dtype=``), and how a new value is rounded to it (``rounding=``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ravine.backends._eight_bits import (
    SCALES,
    SIGNED,
    SQUARES,
    block_size,
    decoded,
    empty_scales,
    encode,
    is_code,
    scales_shape,
)
from ravine.backends._sharded import part
from ravine.errors import OptionError, ParameterError, nearest
from ravine.formula import ParamCopy, Program
from ravine.formula._compensation import is_rest, rests_of
from ravine.formula._operations import ROUNDED_BITS
from ravine.formula._pieces import Reduced, Squares
from ravine.formula._rounding import Narrow, mixed
from ravine.optim._common import Rounding

#: What ``state_dtype`` may say.
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "8bit": SIGNED}
#: What ``param_bits`` may say.
_PARAM_BITS: Mapping[Any, Literal["stochastic", 24, 32]] = {
    "stochastic": "stochastic",
    "compensated": 32,
    24: 24,
    32: 32,
}
#: Tensors with fewer elements keep float32 where 8 bits were asked for: their bytes are few. Of one dimension it is more: blocks
#: of those do not fit the parts that processes have, and they are small in models.
FEWEST, FEWEST_OF_ONE_DIMENSION = 4096, 65536


@dataclass(frozen=True)
class StateStorage:
    """How an optimizer keeps its states.

    Attributes:
        every: the dtype of all states that have the shape of their parameter and are no copy of it; None: the parameter's.
        named: of the states that are named, the dtype, which goes before.
        rounding: to the nearest number, or to one of the two around it by chance.
        param_bits: how bfloat16 parameters learn; None: as the formula and rounding to nearest let them.
        first: what is added to the places of parameters, where they are stepped one by one.
    """

    every: torch.dtype | None = None
    named: tuple[tuple[str, torch.dtype], ...] = ()
    rounding: Rounding = "nearest"
    param_bits: Literal["stochastic", 24, 32] | None = None
    first: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """The options that say so; empty where states are kept as they come."""
        texts = {dtype: text for text, dtype in DTYPES.items()}
        options: dict[str, Any] = {}
        if self.every is not None or self.named:
            options["state_dtype"] = (
                texts[self.every] if self.every is not None else {n: texts[d] for n, d in self.named}
            )
        if self.at_random or self.codes or self.param_bits in ("stochastic", 24):
            options["rounding"] = self.rounding
        if self.param_bits is not None:
            options["param_bits"] = self.param_bits
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

    def dtype(self, name: str, initial: Any) -> torch.dtype | None:
        """The dtype of a state by its name and initial value; None: that which it has by itself."""
        if is_rest(name):
            return torch.int8
        own = dict(self.named).get(name)
        if own is not None or isinstance(initial, ParamCopy | Reduced):
            return own
        return self.every

    def of(self, name: str, initial: Any, p: Tensor) -> torch.dtype | None:
        """The dtype of a state of a parameter: codes are for many elements, and of squares without a sign."""
        dtype = self.dtype(name, initial)
        if dtype is None and rests_of(self.param_bits) and p.dtype is torch.bfloat16:
            return torch.float32  # the parameter has more bits for the formula
        if dtype is torch.float16 and isinstance(initial, Squares):
            return torch.float32  # those of small gradients are 0 in float16, and steps divide by their root
        if dtype is None or not is_code(dtype, name):
            return dtype
        if not has_codes(p):
            return torch.float32 if p.dtype in (torch.bfloat16, torch.float16) else None
        return SQUARES if isinstance(initial, Squares) else SIGNED

    def __call__(self, name: str, initial: Any, of_bfloat16: bool = False) -> tuple[str, bool]:
        """To what a new value of a state is rounded before it is stored (``formula/_rounding.py``), and whether at random.

        ``of_bfloat16``: of parameters that ``param_bits`` is for.
        Nothing, as an empty text, is rounded where the tensor that it is written to does so.
        """
        dtype, at_random = self.dtype(name, initial), self.at_random
        if dtype is torch.float16 and isinstance(initial, Squares):
            return "", False
        if dtype is SIGNED:
            return ("squares" if isinstance(initial, Squares) else "signed"), at_random
        if dtype is None and of_bfloat16 and self.param_bits == "stochastic" and not isinstance(initial, Reduced):
            dtype = torch.bfloat16  # that of the parameters that it is for
        known = next((text for text, one in DTYPES.items() if one is dtype), "")
        return (known if at_random and known in ROUNDED_BITS else ""), at_random

    @property
    def at_random(self) -> bool:
        """Whether values are rounded by chance."""
        return self.rounding == "stochastic"

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
    def narrow(self) -> Narrow | None:
        """This, where a program has to do with it."""
        return self if self.at_random or self.codes or self.param_bits is not None else None

    def key(self, place: int) -> Tensor:
        """The key of random bits of a parameter, from its place among all: processes that train the same model round it alike."""
        return torch.tensor(mixed(0.0, float(self.first + place + 1)), dtype=torch.float64)

    @torch.no_grad()
    def fitted(self, name: str, initial: Any, p: Tensor, states: Mapping[str, Any]) -> dict[str, Any]:
        """What a state and its scales become, where it is to be codes, or is codes and is not to be."""
        if is_rest(name):
            return {}
        state, wanted = states[name], self.of(name, initial, p)
        as_codes = wanted is not None and is_code(wanted)
        if not is_code(state.dtype) and not as_codes:
            return {}
        laid_out = torch.empty_like(p.detach(), dtype=wanted or torch.float32)
        if is_code(state.dtype):
            scales = states.get(name + SCALES)
            if scales is None or scales.shape != scales_shape(tuple(state.shape)):
                raise ParameterError(
                    f"the state {name} is codes of 8 bits, and there are no scales that fit it under {name + SCALES!r}: load both"
                )
            if (
                state.dtype is wanted
                and part(state).stride() == part(laid_out).stride()
                and state.device == p.device == scales.device
            ):
                return {}
            state = decoded(state, scales.to(state.device))
        if not as_codes:
            return {name: state.to(p.device), name + SCALES: None}
        laid_out.zero_()
        made = {name: laid_out, name + SCALES: empty_scales(laid_out)}
        encode(part(state.to(p.device)), *map(part, made.values()))
        return made


def has_codes(p: Tensor) -> bool:
    """Whether states of a parameter are kept in 8 bits where that is asked for."""
    return p.numel() >= (FEWEST_OF_ONE_DIMENSION if p.ndim < 2 else FEWEST) and block_size(tuple(p.shape)) > 0


def places_of(groups: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """The place of each parameter among all, by its id."""
    return {id(p): i for i, p in enumerate(p for group in groups for p in group["params"])}


def storage_of(state_dtype: object, rounding: object, param_bits: object) -> StateStorage:
    """The storage that three options ask for.

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
    bits = _PARAM_BITS.get(param_bits) if isinstance(param_bits, str | int) else None
    if param_bits is not None and (bits is None or isinstance(param_bits, bool)):
        raise OptionError(
            f"param_bits={param_bits!r}: it is 'stochastic' (bfloat16 parameters are rounded by chance), 24 or 32 (they have 8 or 16 bits "
            "more beside them; 'compensated' is 32)"
        )
    made = StateStorage(every, named, "stochastic", bits)
    if rounding == "stochastic" and state_dtype is None and bits in (None, 32):
        raise OptionError(
            "rounding='stochastic' needs something to round: state_dtype='bfloat16' (or '8bit'), or param_bits='stochastic' for "
            "bfloat16 parameters"
        )
    by_chance = made.codes or bits in ("stochastic", 24)
    return made if rounding == "stochastic" or (rounding is None and by_chance) else replace(made, rounding="nearest")


def _dtype(value: object, what: str) -> torch.dtype:
    if isinstance(value, torch.dtype) and value in DTYPES.values() and not is_code(value):
        return value
    if isinstance(value, str) and value in DTYPES:
        return DTYPES[value]
    names = ", ".join(map(repr, DTYPES))
    raise OptionError(f"{what}={value!r}: it is one of {names}, torch.float32 and its like, or a dict of them by state")
