"""What stands in a parameter group: the keys of torch's class of the same name, what is set beside them, and notes.

A group of ``RMSprop`` has the keys that one of ``torch.optim.RMSprop`` has. Trainers, wrappers and
``torch.distributed.checkpoint`` look keys up by name in both directions. What only Ravine has (``clip_norm``,
``eps_inside_root``) stands in a group while it is more than its default. Other keys are the user's own and are kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch

from ravine._compat.torch import defaults_in_torch, promise_to_unscale
from ravine._line_of_user import level_of_user
from ravine.optim._common import OF_GROUPS, parameters_of
from ravine.optim._hyperparameters import (
    GROUP_NOTES,
    TORCH_ONLY,
    Check,
    as_python,
    check_group,
    hypers_of,
    refuse_differentiable,
)


def twin_of(cls: type) -> type | None:
    """The optimizer of ours that a class is or derives from and that torch.optim has too; None if there is none."""
    for c in cls.__mro__:
        if c.__module__.startswith("ravine.optim.") and c.__name__ != "Optimizer" and hasattr(torch.optim, c.__name__):
            return c
    return None


@cache
def _keys_in_torch(name: str) -> frozenset[str]:
    """The options that groups of torch's class have."""
    return frozenset(defaults_in_torch(name))


def neutral_of(cls: type, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a group is without while they have this value.

    Args:
        cls: the optimizer's class.
        defaults: its options, and what they are for groups that do not say.
    """
    twin = twin_of(cls)
    if twin is None:
        return {name: off for name, off in OF_GROUPS.items() if name in defaults}
    theirs, ours = _keys_in_torch(twin.__name__), parameters_of(twin)
    # Of one that only hypers declare, the constructor takes another form: Muon's others.
    known = {name: defaults[name] for c in twin.__mro__ if _is_ours(c) for name in parameters_of(c) if name in defaults}
    known |= {name: h.default for name, h in hypers_of(twin).items() if name in defaults and name not in known}
    known |= {name: p.default for name, p in ours.items() if name in defaults}
    return {n: known.get(n, defaults[n]) for n in defaults if n not in theirs and (n in known or n in OF_GROUPS)}


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("ravine.optim.")


def switches_of(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """torch's switches for its own loops, for the groups of a class that torch has too: they change nothing here.

    Raises:
        OptionError: ``differentiable=True``, which would change something.
    """
    refuse_differentiable(given)
    twin = twin_of(cls)
    theirs = frozenset() if twin is None else _keys_in_torch(twin.__name__)
    return {name: given.get(name, None if name == "foreach" else False) for name in TORCH_ONLY if name in theirs}


def complete(
    group: dict[str, Any],
    defaults: Mapping[str, Any],
    switches: Mapping[str, Any],
    check: Check,
    warned: set[str],
    where: str,
) -> None:
    """Give a new group the options that it does not have, and look at those that it has.

    Raises:
        OptionError: one has an impossible value.
    """
    refuse_differentiable(group)
    for name, value in {**defaults, **switches}.items():
        group[name] = as_python(group.get(name, value))
    check_group(group, defaults, check, where)
    warn_misspelt(group, defaults, where, warned)


def leave_out(group: dict[str, Any], neutral: Mapping[str, Any]) -> None:
    """Take out of a group what it need not say."""
    for name, value in neutral.items():
        if name in group and type(group[name]) is type(value) and group[name] == value:
            del group[name]


def flag_scaling(optimizer: torch.optim.Optimizer) -> None:
    """As torch's classes: only with ``fused=True`` GradScaler leaves unscaling to the optimizer.

    Trainers that clip between the two, as Lightning does, refuse an optimizer that says that it unscales.
    """
    if optimizer.defaults["fused"]:
        promise_to_unscale(optimizer)


# --- keys that were meant to be another --------------------------------------------------------------------------

#: Other libraries' words for an option, of those that nobody has in a parameter group for something else.
_WORDS_OF_OTHERS = {
    "learning_rate": "lr", "epsilon": "eps", "wd": "weight_decay", "weight_decay_rate": "weight_decay", "beta_1": "betas",
    "beta_2": "betas", "beta1": "betas", "beta2": "betas", "global_clipnorm": "clip_norm", "max_grad_norm": "clip_norm",
}  # fmt: skip
#: What tells the groups of torch's SGD and RMSprop, which another optimizer may take over, from one with a momentum of its own.
_BESIDE_MOMENTUM = ("dampening", "centered")


def warn_misspelt(group: Mapping[str, Any], options: Iterable[str], where: str, warned: set[str]) -> None:
    """Warn once of each key that is one typing mistake away from an option, or another library's word for it.

    And of a momentum, where there is none: it is meant to change something.

    Args:
        group: the group.
        options: what may stand in it.
        where: names the group.
        warned: the keys that were warned of before.
    """
    for key in group:
        if key in options or key in GROUP_NOTES or key in TORCH_ONLY or key in warned or not isinstance(key, str):
            continue
        meant = next((name for name in options if one_mistake(key, name)), _WORDS_OF_OTHERS.get(key, ""))
        without = key == "momentum" and bool(group[key]) and not any(name in group for name in _BESIDE_MOMENTUM)
        if without and "betas" in options:
            meant = "betas"
        if meant in options or without:
            warned.add(key)
            hint = f". Did you mean {meant!r}?" if meant in options else ""
            warnings.warn(
                f"the key {key!r}{where} is not an option of this optimizer, so it changes nothing{hint}",
                stacklevel=level_of_user(),
            )


def one_mistake(written: str, meant: str) -> bool:
    """Whether a word is another with one letter too many, missing, wrong, in the other case, or changed with its neighbour.

    A digit is no slip: ``lr0`` is a name of its own.
    """
    a, b = written.lower(), meant.lower()
    if a == b:
        return written != meant
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[same:], b[same:]
    if (a[:1] + b[:1]).strip("0123456789") != a[:1] + b[:1]:
        return False
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
