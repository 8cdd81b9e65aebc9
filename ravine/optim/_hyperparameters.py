"""Hyperparameters: the values each may have, stated once for every optimizer, and the checks of what a user passes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ravine.errors import OptionError, nearest

_POSITIVE = (0.0, math.inf)
#: Least value and the value it stays below; a name that is not here may be any finite number.
RANGES: Mapping[str, tuple[float, float]] = {
    "lr": _POSITIVE,
    "eps": _POSITIVE,
    "alpha": _POSITIVE,
    "momentum": _POSITIVE,
    "weight_decay": _POSITIVE,
    "lr_decay": _POSITIVE,
    "initial_accumulator_value": _POSITIVE,
    "square_avg_start": _POSITIVE,
    "rho": (0.0, math.nextafter(1.0, 2.0)),
    "betas": (0.0, 1.0),
    "beta1_decay": (0.0, math.nextafter(1.0, 2.0)),
    "clip_norm": _POSITIVE,
    "ema_decay": (0.0, 1.0),
    "max_norm": _POSITIVE,
    "max_value": _POSITIVE,
    "clip_factor": _POSITIVE,
    "least_norm": _POSITIVE,
}
#: Hyperparameters that may be None, which leaves out the piece that reads them.
OPTIONAL = ("clip_norm", "ema_decay")
#: Hyperparameters that are several numbers, whatever was passed.
LENGTHS = {"betas": 2}
#: What schedulers and users keep in a group beside hyperparameters.
GROUP_NOTES = (
    "params",
    "param_names",
    "name",
    "initial_lr",
    "max_lr",
    "min_lr",
    "base_momentum",
    "max_momentum",
    "swa_lr",
)
#: How torch is to run its own code: in its state dicts, and without a meaning here.
TORCH_ONLY = ("foreach", "capturable", "differentiable")


def check(name: str, value: Any, default: Any, where: str) -> None:
    """Raise OptionError if ``name`` cannot have this value; ``where`` tells the user which group it stands in."""
    if name == "fused":
        if value not in (None, True, False):
            raise OptionError(f"fused={value!r}{where}: it is None (the kernel where it can), True or False")
    elif name in OPTIONAL:
        if isinstance(value, int | float) and value == 0 and name == "clip_norm":
            raise OptionError(f"clip_norm={value!r}{where}: no gradient would be left; it is a norm above 0, or None")
        if value is not None:
            _check_number(name, name, value, where)
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise OptionError(f"{name}={value!r}{where}: it is True or False")
    elif length := LENGTHS.get(name) or (len(default) if isinstance(default, tuple | list) else 0):
        if not isinstance(value, tuple | list) or len(value) != length:
            raise OptionError(f"{name}={value!r}{where}: it is a tuple of {length} numbers")
        for i, v in enumerate(value):
            _check_number(name, f"{name}[{i}]", v, where)
    else:
        _check_number(name, name, value, where)


def _check_number(name: str, shown: str, value: Any, where: str) -> None:
    if isinstance(value, torch.Tensor | np.generic | np.ndarray) and math.prod(value.shape) == 1:
        value = value.item()
    low, high = RANGES.get(name, (-math.inf, math.inf))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and low <= value < high:
        return
    wanted = "a finite number"
    if name in RANGES:
        wanted += f" of at least {low:g}" + (
            "" if high == math.inf else f" and {'below' if high == 1.0 else 'at most'} 1"
        )
    raise OptionError(f"{shown}={value!r}{where}: it must be {wanted}")


def check_group(group: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
    """Check every key and value of a parameter group."""
    for key in group:
        if key not in defaults and key not in GROUP_NOTES:
            raise OptionError(f"unknown key {key!r}{where}. {nearest(key, [*defaults, 'params', 'name'])}")
    for name, default in defaults.items():
        check(name, group[name], default, where)


def refuse_torch_only(options: Mapping[str, Any]) -> None:
    """Raise OptionError if one of torch's switches for its own loops is set: Ravine has no such loop to choose."""
    remedy = {
        "foreach": "leave it out: there is one kernel for all tensors (fused=None), and fused=False runs torch's operations",
        "capturable": "leave it out: steps are not captured in CUDA graphs; use torch.optim for that",
        "differentiable": "leave it out: a step is not recorded by autograd; use torch.optim for that",
    }
    for name in TORCH_ONLY:
        if options.get(name):
            raise OptionError(f"{name}={options[name]!r} has no meaning in Ravine: {remedy[name]}")
