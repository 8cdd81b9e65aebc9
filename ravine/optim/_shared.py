"""Options that every optimizer has beside those of its formula, and the options of a class as a whole."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Literal, TypedDict

from ravine.errors import OptionError

#: What happens where a gradient has a NaN or infinity.
Nonfinite = Literal["propagate", "skip", "raise"]


class Shared(TypedDict, total=False):
    """Options of every named optimizer: ``RMSprop(params, lr=1e-3, clip_norm=1.0, watch=False)``.

    Attributes:
        clip_norm: shorten the gradients of all parameters together to this norm, as
            ``torch.nn.utils.clip_grad_norm_``, inside the step; None leaves them. Of a group: the groups that have
            it are clipped together.
        ema_decay: keep a decaying average of the parameters, for ``with optimizer.averaged():``; None keeps none.
        nonfinite: where a gradient has a NaN or infinity: ``"propagate"`` writes what the formula gives, as torch;
            ``"skip"`` leaves the step out and counts it; ``"raise"`` names the parameter and writes nothing. Looking
            for them costs one more read of the gradients.
        watch: keep figures of what every step does to every parameter (``optimizer.watch``).
    """

    clip_norm: float | None
    ema_decay: float | None
    nonfinite: Nonfinite
    watch: bool


def parameters_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of an optimizer's class by name, with the shared options where it takes them."""
    own = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
        return own
    found = {name: p for name, p in own.items() if p.kind is not p.VAR_KEYWORD}
    defaults = {"clip_norm": None, "ema_decay": None, "nonfinite": "propagate", "watch": True}
    shared = {n: inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in defaults.items()}
    return {**shared, **found} if "shared" in own else own


def check_policy(nonfinite: object, watch: object) -> None:
    """Raise OptionError for a value that the two options of a whole optimizer cannot have."""
    if nonfinite not in ("propagate", "skip", "raise"):
        raise OptionError(f"nonfinite={nonfinite!r}: it is 'propagate', 'skip' or 'raise'")
    if not isinstance(watch, bool):
        raise OptionError(f"watch={watch!r}: it is True or False")
