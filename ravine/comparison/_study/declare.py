"""Declares a study: from what the user asked for to a spec that says all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ravine.comparison._study.code_versions import versions_of
from ravine.comparison._study.spaces import SpacesLike, spaces_of
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import validation_split
from ravine.errors import OptionError, nearest, shown
from ravine.optim._search_space import bounded, check_searched, default_space
from ravine.optim._spec import OptimizerSpec
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
    optimizers: Sequence[OptimizerSpec],
    *,
    preset: str = "standard",
    points: int | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    schedule: str = "",
    space: SpacesLike = None,
    reference: str = "",
    data: Path | None = None,
) -> StudySpec:
    """The spec of a study.

    Args:
        task, named: what is trained, and the name it was found by.
        optimizers: those that take part; an option that is given is not searched.
        preset: one of ``PRESETS``; ``points``, ``seeds`` and ``steps`` change what it says.
        schedule: how the rate changes, for all; see ``ravine.train._schedules.by_text``.
        space: other search spaces: by label and hyperparameter, or a file.
        reference: the optimizer whose runs set the target; the first if empty.
        data: the folder or file that the task read.

    Raises:
        OptionError: an optimizer, preset or number is impossible.
    """
    if preset not in PRESETS:
        raise OptionError(f"There is no preset {preset!r}. {nearest(preset, PRESETS)}")
    amount = PRESETS[preset]
    for name, value in (("points", points), ("seeds", seeds), ("steps", steps)):
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise OptionError(f"{name} = {shown(value)}: give a whole number.")
        if not 1 <= value <= _MOST[name]:
            raise OptionError(f"{name} = {value}: a comparison needs at least 1 and at most {_MOST[name]:,}.")
    if not optimizers:
        raise OptionError("There is nothing to compare: name at least one optimizer.")
    if len(optimizers) > 1 and seeds == 1:
        raise OptionError(
            "seeds = 1: optimizers are compared on at least 2 seeds; one seed cannot show the noise between seeds."
        )
    labels = [one.label for one in optimizers]
    reference = reference.strip()
    if reference and reference not in labels:
        raise OptionError(f"The reference {reference!r} is not among the optimizers. {nearest(reference, labels)}")
    if schedule:
        schedules.parse(schedule)
    spaces = spaces_of(space, labels)
    searched = {one.label: spaces.get(one.label) or default_space(one) for one in optimizers}
    configs = tuple(OptimizerConfig(one.label, bounded(one, searched[one.label]), one.text) for one in optimizers)
    for one, config in zip(optimizers, configs, strict=True):
        one.check_complete(config.space)
        check_searched(one, config.space)
    _check_different(optimizers, configs)
    epochs = task.quick_epochs if amount.quick else task.epochs
    return StudySpec(
        task=named,
        data=None if data is None else str(data),
        optimizers=configs,
        steps=steps or epochs * validation_split(task, 0)[0].steps_per_epoch,
        points=points or amount.points,
        seeds=seeds or amount.seeds,
        schedule=schedule,
        reference=reference,
        versions=versions_of(named, optimizers),
    )


def _check_different(optimizers: Sequence[OptimizerSpec], configs: Sequence[OptimizerConfig]) -> None:
    """Refuse two that are one: the same class or function, the same options, the same search space.

    Raises:
        OptionError: there are two.
    """
    for (one, mine), (other, theirs) in combinations(zip(optimizers, configs, strict=True), 2):
        if one.factory is not other.factory or mine.space != theirs.space:
            continue
        fixed = [{n: v for n, v in spec.all_options.items() if n not in mine.space} for spec in (one, other)]
        if fixed[0] == fixed[1]:
            raise OptionError(
                f"{one.label!r} and {other.label!r} are the same optimizer with the same options and the same search "
                "space: leave one out, or give one of them another space."
            )
