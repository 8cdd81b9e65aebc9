"""Options that every optimizer has beside those of its formula."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from ravine.errors import OptionError

#: What happens where a gradient has a NaN or infinity.
Nonfinite = Literal["propagate", "skip", "raise"]


class Common(TypedDict, total=False):
    """Options of every named optimizer: ``RMSprop(params, lr=1e-3, clip_norm=1.0, watch=False)``.

    Attributes:
        clip_norm: shorten the gradients of all parameters together to this norm, as
            ``torch.nn.utils.clip_grad_norm_``, inside the step; None leaves them. Of a group: the groups that have
            it are clipped together.
        ema_decay: keep a decaying average of the parameters, for ``with optimizer.averaged():``; None keeps none.
        nonfinite: where a gradient has a NaN or infinity: ``"propagate"`` writes what the formula gives, as torch;
            ``"skip"`` leaves the step out and counts it; ``"raise"`` names the parameter and writes nothing. Looking
            for them costs one more read of the gradients.
        watch: keep statistics of what every step does to every parameter (``optimizer.watch``).
    """

    clip_norm: float | None
    ema_decay: float | None
    nonfinite: Nonfinite
    watch: bool


_DEFAULTS: dict[str, Any] = {"clip_norm": None, "ema_decay": None, "nonfinite": "propagate", "watch": True}


def parameters_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of an optimizer's class by name, with the common options where it passes them on."""
    own = inspect.signature(cls).parameters
    passed_on = next((p for p in own.values() if p.kind is p.VAR_KEYWORD), None)
    if passed_on is None or not _passes_common(cls, passed_on):
        return own
    named = {name: p for name, p in own.items() if p is not passed_on}
    common = {n: inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in _DEFAULTS.items()}
    return {**common, **named}


def _passes_common(cls: type, passed_on: inspect.Parameter) -> bool:
    """Whether ``**name`` holds the common options: it says so, or is that of a user's class that says nothing."""
    unsaid = passed_on.annotation is inspect.Parameter.empty
    return "Unpack" in str(passed_on.annotation) or (unsaid and hasattr(cls, "hypers"))


def check_policy(nonfinite: object, watch: object) -> None:
    """Raise OptionError for a value that the two options of a whole optimizer cannot have."""
    if nonfinite not in ("propagate", "skip", "raise"):
        raise OptionError(f"nonfinite={nonfinite!r}: it is 'propagate', 'skip' or 'raise'")
    if not isinstance(watch, bool):
        raise OptionError(f"watch={watch!r}: it is True or False")
