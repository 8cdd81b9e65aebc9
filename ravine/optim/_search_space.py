"""Where a comparison looks for an optimizer's hyperparameters, unless the user says otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ravine.errors import OptionError, nearest
from ravine.optim import _registry as registry
from ravine.optim._optimizer import Optimizer
from ravine.optim._signature import BETAS, option_names, searchable, takes
from ravine.optim._spec import OptimizerSpec
from ravine.optim.search import Range

#: The widest range of a learning rate, in powers of ten: with few points, a wider one finds nothing.
DECADES = 4.0


def default_space(spec: OptimizerSpec) -> dict[str, Range]:
    """What the optimizer's class declares, without the options that are given.

    Raises:
        OptionError: a class of the user's own declares what it does not have, or no range.
    """
    given = {*spec.given, *(BETAS if "betas" in spec.given else ())}
    return {name: values for name, values in _declared(spec).items() if name not in given}


def _declared(spec: OptimizerSpec) -> dict[str, Range]:
    if spec.code:
        return _users(spec)
    name = spec.name.removeprefix("torch-")
    return dict(registry.lookup(name).search if name in registry.names() else registry.search_space(Optimizer))


def _users(spec: OptimizerSpec) -> dict[str, Range]:
    """What the user's class declares, checked; if it declares nothing, the learning rate's usual range if it has one."""
    search, where = getattr(spec.factory, "search", None), f"`search` of {spec.name}"

    def known(name: str) -> bool:
        return takes(spec.factory, name) or name in searchable(spec.factory)

    if search is None:
        cls = spec.factory if isinstance(spec.factory, type) else Optimizer
        return {name: values for name, values in registry.search_space(cls).items() if known(name)}
    form = f'{where} is {search!r}; write {{"lr": (1e-4, 1.0)}}, the least and the largest value.'
    if not isinstance(search, Mapping):
        raise OptionError(form)
    space = {}
    for name, ends in search.items():
        if not known(name):
            raise OptionError(f"{where}: there is no option {name!r}. {nearest(name, option_names(spec.factory))}")
        if isinstance(ends, Range):
            space[name] = checked(ends, name, f"{where}, {name}")
        elif isinstance(ends, tuple | list) and len(ends) in (2, 3):
            space[name] = _range(ends, name, f"{where}, {name}")
        else:
            raise OptionError(form)
    return space


def _range(ends: Sequence[Any], name: str, where: str) -> Range:
    try:
        values = Range(*ends)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return checked(values, name, where)


def checked(values: Range, name: str, where: str) -> Range:
    """The range; a learning rate's may have at most four powers of ten.

    Raises:
        OptionError: it has more.
    """
    if name == "lr" and values.scale == "log" and math.log10(values.high / values.low) > DECADES + 1e-9:
        raise OptionError(
            f"{where}: from {values.low:g} to {values.high:g} is more than {DECADES:g} powers of ten: with few points, too few "
            "would fall where it matters. If the best point is at an edge, the range is expanded automatically."
        )
    return values


def check_searched(spec: OptimizerSpec, space: Mapping[str, Range]) -> None:
    """Refuse a space of what the optimizer does not have, or was given.

    Raises:
        OptionError: it has.
    """
    known = searchable(spec.factory)
    for name in space:
        open_to_any = takes(spec.factory, name) and name not in option_names(spec.factory)
        if name not in known and not open_to_any:
            raise OptionError(f"{spec.label} has no {name!r} to search. {nearest(name, known)}")
        if name in spec.given or (name in BETAS and "betas" in spec.given):
            raise OptionError(f"{spec.label}: {name} is both set and searched; leave one out.")
