"""Declares a study: from what the user asked for to a spec that says all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ravine.comparison._study.space import Space, checked, read
from ravine.comparison._study.spec import ArmSpec, Spec
from ravine.comparison._study.trial import parted
from ravine.comparison._study.versions import installed, versions_of
from ravine.errors import OptionError, nearest
from ravine.optim import Optimizer
from ravine.optim import _registry as registry
from ravine.optim import _spec as specs
from ravine.optim.search import Range
from ravine.tasks import Task
from ravine.train._schedules import by_text as schedules


@dataclass(frozen=True)
class Preset:
    """How much is tried: points of each space, fresh seeds, and whether trainings have the task's shortest length."""

    points: int
    seeds: int
    quick: bool = False


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(points=8, seeds=5, quick=True),
    "standard": Preset(points=16, seeds=10),
    "full": Preset(points=32, seeds=20),
}
_MOST = {"points": 10_000, "seeds": 10_000, "steps": 10**9}


def declare(
    task: Task,
    named: str,
    optimizers: Sequence[str],
    *,
    preset: str = "standard",
    points: int | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    schedule: str = "",
    space: Path | None = None,
    reference: str = "",
    data: Path | None = None,
) -> Spec:
    """The spec of a study.

    Args:
        task, named: what is trained, and the name it was found by.
        optimizers: as ``ravine.optim._spec`` reads them; an option that is given there is not searched.
        preset: one of ``PRESETS``; ``points``, ``seeds`` and ``steps`` change what it says.
        schedule: how the rate changes, for all; see ``ravine.train._schedules.by_text``.
        space: a file with other search spaces (``ravine.comparison._study.space.read``).
        reference: the optimizer whose runs set the target; the first if empty.
        data: the folder or file that the task read.

    Raises:
        OptionError: an optimizer, preset or number is impossible.
    """
    if preset not in PRESETS:
        raise OptionError(f"There is no preset {preset!r}. {nearest(preset, PRESETS)}")
    how = PRESETS[preset]
    for name, value in (("points", points), ("seeds", seeds), ("steps", steps)):
        if value is not None and not 1 <= value <= _MOST[name]:
            raise OptionError(f"{name} = {value}: a comparison needs at least 1, and at most {_MOST[name]:,}.")
    versions = versions_of(named, optimizers)
    found = specs.parse_all(optimizers, task.name, None, versions)
    if not found:
        raise OptionError("There is nothing to compare: name at least one optimizer.")
    if len(found) > 1 and seeds == 1:
        raise OptionError("seeds = 1: optimizers are compared on at least 2 seeds; one says nothing of the noise.")
    labels = [one.label for one in found]
    reference = reference.strip()
    if reference and reference not in labels:
        raise OptionError(f"The reference {reference!r} does not take part. {nearest(reference, labels)}")
    if schedule:
        schedules.parse(schedule)
    spaces = {} if space is None else read(space, labels)
    arms = tuple(ArmSpec(one.label, spaces.get(one.label) or usual_space(one.label)) for one in found)
    for one, arm in zip(found, arms, strict=True):
        one.check_complete(arm.space)
        _check(one, arm)
    epochs = task.quick_epochs if how.quick else task.epochs
    return Spec(
        task=named,
        data=None if data is None else str(data),
        arms=arms,
        steps=steps or epochs * parted(task, 0)[0].steps_per_epoch,
        points=points or how.points,
        seeds=seeds or how.seeds,
        schedule=schedule,
        reference=reference,
        versions={**installed(), **versions},
    )


def _check(one: specs.OptimizerSpec, arm: ArmSpec) -> None:
    """Refuse a space of what the optimizer does not have, or was given.

    Raises:
        OptionError: it has.
    """
    given, known = specs.written(arm.label), specs.searchable(one.cls)
    for name in arm.space:
        open_to_any = specs.takes(one.cls, name) and name not in specs.keys(one.cls)
        if name not in known and not open_to_any:
            raise OptionError(f"{arm.label} has no {name!r} to search. {nearest(name, known)}")
        if name in given or (name in specs.BETAS and "betas" in given):
            raise OptionError(f"{arm.label}: {name} is given and searched; leave it out of one.")


def usual_space(label: str) -> Space:
    """Where an optimizer's hyperparameters are looked for: what its class says, without those that are given."""
    given = specs.written(label)
    given |= dict.fromkeys(specs.BETAS) if "betas" in given else {}
    return {hyper: found for hyper, found in _whole_space(label).items() if hyper not in given}


def _whole_space(label: str) -> Space:
    if specs.file_of(label) is not None:
        return _own_space(label)
    name = label.partition(":")[0].lower().removeprefix("torch-")
    if name not in registry.names():
        return registry.search_space(Optimizer)
    return registry.lookup(name).search


def _own_space(label: str) -> Space:
    """What the user's class says, checked; if it says nothing, the learning rate's usual range if it has one."""
    contender = specs.parse(label, None)
    search, where = getattr(contender.cls, "search", None), f"`search` of {contender.name}"
    if search is None:
        known = {*specs.keys(contender.cls), *specs.searchable(contender.cls)}
        return {name: ends for name, ends in registry.search_space(contender.cls).items() if name in known}
    form = f'{where} is {search!r}; write {{"lr": (1e-4, 1.0)}}, the least and the largest value.'
    if not isinstance(search, Mapping):
        raise OptionError(form)
    space = {}
    for hyper, ends in search.items():
        if specs.takes(contender.cls, hyper) or hyper in specs.searchable(contender.cls):
            if not isinstance(ends, tuple | list) or len(ends) not in (2, 3):
                raise OptionError(form)
            space[hyper] = _range(ends, hyper, f"{where}, {hyper}")
        else:
            raise OptionError(f"{where}: there is no option {hyper!r}. {nearest(hyper, specs.keys(contender.cls))}")
    return space


def _range(ends: Sequence[Any], hyper: str, where: str) -> Range:
    try:
        found = Range(*ends)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return checked(found, hyper, where)
