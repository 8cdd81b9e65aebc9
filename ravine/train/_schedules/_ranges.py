"""Which values the arguments of schedules may have, by the names that torch gives them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from ravine._whole_numbers import whole
from ravine.errors import OptionError, shown

_COUNTS = {"step_size": 1, "T_max": 1, "T_0": 1, "total_steps": 1, "patience": 0, "cooldown": 0}
_FACTORS = ("gamma", "factor")


def check(what: str, make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse counts that are none, and factors that leave no rate, which torch takes or divides by.

    Raises:
        OptionError: it says which argument of ``what``.
    """
    if not isinstance(make, type):  # a function of the user's own knows what its arguments mean
        return
    for name, value in _by_name(make, args, kwargs).items():
        if (low := _COUNTS.get(name)) is not None and (whole(value) is None or value < low):
            raise OptionError(f"{what}: {name} is {shown(value)}; it must be a whole number, at least {low}.")
        if name in _FACTORS and isinstance(value, int | float) and not (math.isfinite(value) and value > 0):
            raise OptionError(
                f"{what}: {name} is {shown(value)}; it must be a finite number above 0: the rate is multiplied by it."
            )


def _by_name(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        return inspect.signature(make).bind_partial(None, *args, **kwargs).arguments
    except (TypeError, ValueError):  # what does not fit is said where the scheduler is made
        return kwargs
