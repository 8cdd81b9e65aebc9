"""Options that every optimizer has beside those of its formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, TypedDict

import numpy as np
import torch

from ravine.errors import OptionError

#: In which dtype states are kept: of all, or by the name of a state.
StateDtype = str | torch.dtype | Mapping[str, str | torch.dtype] | None
#: How a value becomes one of 16 bits.
Rounding = Literal["nearest", "stochastic"]
#: How bfloat16 parameters learn.
ParamBits = Literal["stochastic", "compensated", 24, 32]
#: What happens where a gradient has a NaN or infinity.
Nonfinite = Literal["propagate", "skip", "raise"]


class Common(TypedDict, total=False):
    """Options of every named optimizer: ``RMSprop(params, lr=1e-3, clip_norm=1.0, watch=False)``.

    Attributes:
        clip_norm: shorten the gradients of all parameters together to this norm, as
            ``torch.nn.utils.clip_grad_norm_``, inside the step; None leaves them. Of a group: the groups that have
            it are clipped together.
        ema_decay: keep a decaying average of the parameters, for ``with optimizer.averaged():``; None keeps none.
        cautious: leave out the elements whose update points against their gradient, and lengthen the others by as much
            (Liang et al., 2024, Cautious Optimizers, algorithm 1). It costs one more pass over memory.
        lookahead: ``(k, alpha)``: every k steps the parameters become slow ones that went ``alpha`` of the way to them
            (Zhang et al., 2019, algorithm 1); None leaves it.
        nonfinite: where a gradient has a NaN or infinity: ``"propagate"`` writes what the formula gives, as torch;
            ``"skip"`` leaves the step out and counts it; ``"raise"`` names the parameter and writes nothing. Looking
            for them costs one more read of the gradients.
        watch: keep statistics of what every step does to every parameter (``optimizer.watch``).
        state_dtype: how states of the parameter's shape are kept: ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"8bit"``, or a
            dict of them by the name of a state; None: in the parameter's dtype. They are computed in float32 all the same. An
            average of the parameters (``ema_decay``) is kept narrow only if the dict names it.
        rounding: how a new value becomes one of fewer bits: ``"nearest"``, or ``"stochastic"``: one of the two numbers around it
            by chance, so that it is right on average and small changes are not lost. None: stochastic with 8 bits and
            with ``param_bits``, but for 32, which loses nothing.
        param_bits: how bfloat16 parameters learn from changes that are too small for their 8 bits of precision: ``"stochastic"``
            rounds them by chance; 32 (or ``"compensated"``) keeps the 16 bits that are rounded off in a state beside them, so that
            both together are a float32; 24 keeps 8 of them. With 24 and 32 states are float32 unless ``state_dtype`` says otherwise.
            Other parameters stay as they are; None leaves all as they are.
    """

    clip_norm: float | None
    ema_decay: float | None
    cautious: bool
    lookahead: tuple[int, float] | None
    nonfinite: Nonfinite
    watch: bool
    state_dtype: StateDtype
    rounding: Rounding | None
    param_bits: ParamBits | None


#: Those that may differ from group to group, and what they are where they are off.
OF_GROUPS: dict[str, Any] = {"clip_norm": None, "ema_decay": None, "cautious": False, "lookahead": None}
_DEFAULTS: dict[str, Any] = {
    **OF_GROUPS,
    "nonfinite": "propagate",
    "watch": True,
    "state_dtype": None,
    "rounding": None,
    "param_bits": None,
}


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """What a class or function takes; read once, as reading takes longer than the rest of making a small optimizer."""
    try:
        return _signature(function)
    except TypeError:  # it has no hash, or no signature
        return inspect.signature(function)


_signature = lru_cache(256)(inspect.signature)


def parameters_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of an optimizer's class by name, with the common options where it passes them on.

    A class with a formula and an ``__init__`` that ends with ``**common`` (or another name) passes them on; one without
    an ``__init__`` of its own takes any ``**hyperparameters``.
    """
    own = signature_of(cls).parameters
    passed_on = next((p for p in own.values() if p.kind is p.VAR_KEYWORD), None)
    if passed_on is None or getattr(cls, "formula", None) is None or passed_on.name == "hyperparameters":
        return own
    named = {name: p for name, p in own.items() if p is not passed_on}
    common = {n: inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in _DEFAULTS.items()}
    return {**common, **named}


def switches_in(cls: type) -> dict[str, bool]:
    """The options of an optimizer's class that are switched on or off, with their defaults."""
    return {name: p.default for name, p in parameters_of(cls).items() if isinstance(p.default, bool)}


def check_policy(nonfinite: object, watch: object) -> None:
    """Raise OptionError for a value that the two options of a whole optimizer cannot have."""
    if nonfinite not in ("propagate", "skip", "raise"):
        raise OptionError(f"nonfinite={nonfinite!r}: it is 'propagate', 'skip' or 'raise'")
    if not isinstance(watch, bool | np.bool_):
        raise OptionError(f"watch={watch!r}: it is True or False")
