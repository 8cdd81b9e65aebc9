"""Where a comparison looks for an optimizer's hyperparameters, unless the user says otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ravine.errors import OptionError, nearest
from ravine.optim import _registry as registry
from ravine.optim._hyperparameters import Hyper, hypers_of
from ravine.optim._signature import beta_parts, option_names, searchable, takes
from ravine.optim._spec import OptimizerSpec
from ravine.optim.search import Range

#: The widest range of a learning rate, in powers of ten: with few points, a wider one finds nothing.
DECADES = 4.0


def default_space(spec: OptimizerSpec) -> dict[str, Range]:
    """What the optimizer's class declares, without the options that are given.

    Raises:
        OptionError: a class of the user's own declares what it does not have, or no range.
    """
    given = {*spec.given, *(beta_parts(spec.factory) if "betas" in spec.given else ())}
    return {name: values for name, values in _declared(spec).items() if name not in given}


def _declared(spec: OptimizerSpec) -> dict[str, Range]:
    name = spec.name.removeprefix("torch-")
    if not spec.code and name in registry.names():
        return dict(registry.lookup(name).search)
    return _users(spec)


def _users(spec: OptimizerSpec) -> dict[str, Range]:
    """What a class of the user's declares, checked; and the learning rate's usual range, unless it says otherwise."""
    where, known = f"`hypers` of {spec.name}", {*option_names(spec.factory), *searchable(spec.factory)}
    open_to_any = takes(spec.factory, "")  # it has **options
    for name in vars(spec.factory).get("hypers", {}):
        if name not in known and not open_to_any:
            raise OptionError(f"{where}: there is no option {name!r}. {nearest(name, option_names(spec.factory))}")
    try:
        ranges = registry.search_space(spec.factory)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return {
        name: checked(ends, name, f"{where}, {name}") for name, ends in ranges.items() if name in known or open_to_any
    }


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


def bounded(spec: OptimizerSpec, space: Mapping[str, Range]) -> dict[str, Range]:
    """The space with what its hyperparameters may be at all, where the optimizer declares that: it is not expanded beyond.

    Raises:
        OptionError: a range goes beyond it already.
    """
    name = spec.name.removeprefix("torch-")
    cls = registry.lookup(name).cls if not spec.code and name in registry.names() else spec.factory
    hypers = hypers_of(cls) if isinstance(cls, type) else {}
    return {name: _bounded(spec, name, values, hypers) for name, values in space.items()}


def _bounded(spec: OptimizerSpec, name: str, values: Range, hypers: Mapping[str, Hyper]) -> Range:
    hyper = hypers.get("betas" if name in beta_parts(spec.factory) else name)
    if hyper is None:
        return values
    if values.low < hyper.low or values.high > hyper.high:
        raise OptionError(
            f"{spec.label}: {name} from {values.low:g} to {values.high:g} is searched, but it must be {hyper.wanted}."
        )
    # A range in powers of ten stays above 0, one of 1 - x from 0 to 1: what is said anyway is not said again.
    least, most = hyper.low, hyper.high
    if values.scale != "linear":
        least = least if least > 0 else -math.inf
        most = most if values.scale == "log" else math.inf
    return replace(values, least=least if least > -math.inf else None, most=most if most < math.inf else None)


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
        if name in spec.given or (name in beta_parts(spec.factory) and "betas" in spec.given):
            raise OptionError(f"{spec.label}: {name} is both set and searched; leave one out.")
