"""What an optimizer's class, or a function that makes one, takes by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ravine.optim._common import parameters_of, signature_of

Factory = Callable[..., Any]
"""A class of optimizers, or a function from the parameters (and options) to an optimizer."""

BETAS = ("beta1", "beta2")
"""The names under which the two numbers of ``betas`` are searched (``beta_parts``)."""


def option_names(factory: Factory) -> list[str]:
    """The options that it takes by name: all its arguments but the first, the parameters."""
    parameters = next(iter(signature_of(factory).parameters), None)
    signature = option_parameters(factory).values()
    named = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return [name for name in named if name != parameters]


def option_parameters(factory: Factory) -> dict[str, inspect.Parameter]:
    """All its arguments by name, with the options that every optimizer of ours shares."""
    return dict(parameters_of(factory))  # type: ignore[arg-type]  # it asks for the signature only


def takes(factory: Factory, name: str) -> bool:
    """Whether it takes an option of that name; one of the user's own may take any."""
    return name in option_names(factory) or any(p.kind is p.VAR_KEYWORD for p in option_parameters(factory).values())


def searchable(factory: Factory) -> list[str]:
    """The hyperparameters that can be searched: the options that are numbers, and the two of ``betas`` by themselves."""
    names = option_names(factory)
    numbers = [
        name
        for name, p in option_parameters(factory).items()
        if name in names
        and (p.default is p.empty or (isinstance(p.default, int | float) and not isinstance(p.default, bool)))
    ]
    return [*numbers, *beta_parts(factory)]


def beta_parts(factory: Factory) -> tuple[str, ...]:
    """Of ``BETAS`` those that stand for a part of ``betas``: not those that are options of their own."""
    names = option_names(factory)
    return tuple(name for name in BETAS if "betas" in names and name not in names)


def defaults(factory: Factory) -> dict[str, Any]:
    """The options that have a default, with it."""
    names = option_names(factory)
    signature = option_parameters(factory)
    return {name: signature[name].default for name in names if signature[name].default is not inspect.Parameter.empty}
