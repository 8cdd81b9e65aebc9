"""Declares a study: from what the user asked for to a spec that says all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ravine._whole_numbers import whole
from ravine._written_alike import alike
from ravine.comparison._judge import parse_margin
from ravine.comparison._study.code_versions import versions_of
from ravine.comparison._study.halving import PARTS
from ravine.comparison._study.schedules import SchedulesLike, schedules_of
from ravine.comparison._study.spaces import SpacesLike, spaces_of
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import validation_split
from ravine.errors import OptionError, nearest, shown
from ravine.optim._search_space import bounded, check_searched, default_space
from ravine.optim._spec import OptimizerSpec
from ravine.tasks import Task
from ravine.tasks._task_data import row_number


@dataclass(frozen=True)
class Preset:
    """How much is tried: points of each tuning, looks at so many seeds, whether trainings have the task's shortest length,
    and the schedule of those for which none is named."""

    points: int
    looks: tuple[int, ...]
    quick: bool = False
    schedule: str = ""


#: Looks of a study that goes on until it is settled: from 8 seeds on, since fewer can show hardly anything at the price of
#: several looks; then every 3, and from 20 on a third more each time. Close ones find a difference of one standard deviation
#: with a tenth fewer seeds than 5, 10 and 20 do (benchmarks/looks.py).
_FIRST_LOOK, _APART, _AT_MOST = 8, 3, 60


def _looks_up_to(most: int) -> tuple[int, ...]:
    looks, n = [], _FIRST_LOOK
    while n < most:
        looks.append(n)
        n = n + _APART if n < 20 else round(n * 4 / 3)
    return (*looks, most)


PRESETS: Mapping[str, Preset] = {
    # At a constant rate the last loss of a run is still in motion, and one in a hundred ends far from the others: no number of
    # seeds that fits into a minute settles anything then (docs/compare.md, benchmarks/repeated.py).
    "settle": Preset(points=8, looks=_looks_up_to(100), quick=True, schedule="warmup-cosine:0.1"),
    "quick": Preset(points=8, looks=_looks_up_to(20), quick=True),
    "standard": Preset(points=4, looks=(10,)),
    "full": Preset(points=8, looks=(20,)),
}
#: Beside the one before the first step: at half of the steps, and at their end.
_FEWEST_EVALUATIONS, _MOST_EVALUATIONS = 2, 20
_MOST_STUDIES = 1_000_000
_MOST = {"points": 1_000, "seeds": 1_000, "at_most": 1_000, "steps": 10**9}


def declare(
    task: Task,
    named: str,
    optimizers: Sequence[OptimizerSpec],
    *,
    preset: str = "standard",
    points: int | None = None,
    seeds: int | None = None,
    until: str = "",
    at_most: int | None = None,
    steps: int | None = None,
    margin: str = "",
    schedule: SchedulesLike = "",
    space: SpacesLike = None,
    halving: bool = False,
    study_seed: int = 0,
    data: Path | None = None,
) -> StudySpec:
    """The spec of a study.

    Args:
        task, named: what is trained, and the name it was found by.
        optimizers: those that take part; an option that is given is not searched.
        preset: one of ``PRESETS``; ``points``, ``seeds``, ``steps`` and ``schedule`` change what it says.
        until, at_most: ``"settled"`` judges the study after 8, 11, 14, ... seeds and ends it where everything is settled,
            or after ``at_most`` (60, or as many as the preset has).
        margin: the largest difference in the loss that does not matter, ``"0.01"`` or ``"1%"``.
        schedule: how the rate changes, for all or by label; see ``ravine.train._schedules.by_text``.
        space: other search spaces: by label and hyperparameter, or a file.
        halving: whether only the better half of a tuning's points is trained for more than a quarter of the steps.
        study_seed: another one gives other points and other seeds.
        data: the folder or file that the task read.

    Raises:
        OptionError: an optimizer, preset or number is impossible.
    """
    if preset not in PRESETS:
        raise OptionError(f"There is no preset {preset!r}. {nearest(preset, PRESETS)}")
    amount = PRESETS[preset]
    for name, value in (
        ("points", points),
        ("seeds", seeds),
        ("at_most", at_most),
        ("steps", steps),
    ):
        if value is None:
            continue
        if whole(value) is None:
            raise OptionError(f"{name} = {shown(value)}: give a whole number.")
        least = 2 if name in ("seeds", "at_most") and len(optimizers) > 1 else 1
        if value < least == 2:
            raise OptionError(
                f"{name} = {value}: optimizers are compared on at least 2 seeds; one seed cannot show the noise between seeds."
            )
        if not least <= value <= _MOST[name]:
            raise OptionError(f"{name} = {value}: give a whole number from {least} to {_MOST[name]:,}.")
    points, seeds, at_most, steps = map(whole, (points, seeds, at_most, steps))
    if not optimizers:
        raise OptionError("There is nothing to compare: name at least one optimizer.")
    labels = [one.label for one in optimizers]
    seed = whole(study_seed)
    if seed is None or not 0 <= seed <= _MOST_STUDIES:
        raise OptionError(f"study_seed = {shown(study_seed)}: give a whole number from 0 to {_MOST_STUDIES:,}.")
    if not isinstance(halving, bool):
        raise OptionError(f"halving = {shown(halving)}: give True or False.")
    if margin != "":
        parse_margin(margin)
    common, own = schedules_of(schedule or amount.schedule, labels)
    spaces = spaces_of(space, labels)
    searched = {one.label: spaces.get(one.label) or default_space(one) for one in optimizers}
    configs = tuple(
        OptimizerConfig(one.label, bounded(one, searched[one.label]), one.text, own.get(one.label, ""))
        for one in optimizers
    )
    for one, config in zip(optimizers, configs, strict=True):
        one.check_complete(config.space)
        check_searched(one, config.space)
    _check_different(optimizers, configs)
    epochs = task.quick_epochs if amount.quick else task.epochs
    training, valid = validation_split(task, 0)
    steps = steps or epochs * training.steps_per_epoch
    points = points or amount.points
    if halving:
        _check_halving(points, steps)
    return StudySpec(
        task=named,
        data=None if data is None else str(data),
        optimizers=configs,
        steps=steps,
        points=points,
        looks=_looks(amount, seeds, until, at_most),
        evaluations=_MOST_EVALUATIONS
        if task.surface is not None
        else _evaluations(row_number(valid), steps * training.batch_size),
        margin=margin,
        ratio=task.surface is not None,
        schedule=common,
        halving=halving,
        seed=seed,
        versions=versions_of(named, optimizers),
    )


def _looks(amount: Preset, seeds: int | None, until: str, at_most: int | None) -> tuple[int, ...]:
    """After how many seeds the study is judged.

    Raises:
        OptionError: a number of seeds and an end that depends on what is found were both asked for.
    """
    if until not in ("", "settled"):
        raise OptionError(f"until = {until!r}: it can only be 'settled'.")
    if not until and at_most is None:
        return amount.looks if seeds is None else (seeds,)
    if seeds is not None:
        raise OptionError(
            f"seeds = {seeds} is how many there are, and until = 'settled' ends the study when all is settled, with at_most so "
            "many: give one of them."
        )
    return _looks_up_to(at_most or max(_AT_MOST, amount.looks[-1]))


def _check_halving(points: int, steps: int) -> None:
    """Refuse what cannot be halved.

    Raises:
        OptionError: there is one point, or no quarter of the steps.
    """
    if points < 2:
        raise OptionError(
            f"halving with points = {points}: one point cannot be halved. Give at least 2 points, or leave halving out."
        )
    if steps < PARTS:
        raise OptionError(
            f"halving with steps = {steps}: points are stopped after a quarter of the steps. Give at least {PARTS} steps, or "
            "no halving."
        )


def _evaluations(rows: int, trained: int) -> int:
    """How often a training is evaluated: so that it takes at most about a fifth of the time, as far as rows say.

    Forward and backward take about three times what forward alone takes.
    """
    return max(_FEWEST_EVALUATIONS, min(_MOST_EVALUATIONS, int(0.2 * 3 * trained / rows)))


def _check_different(optimizers: Sequence[OptimizerSpec], configs: Sequence[OptimizerConfig]) -> None:
    """Refuse two that are one: the same class or function, the same options, the same search space.

    Raises:
        OptionError: there are two.
    """
    for (one, mine), (other, theirs) in combinations(zip(optimizers, configs, strict=True), 2):
        if one.factory is not other.factory or mine.space != theirs.space:
            continue
        if not alike(mine.schedule, theirs.schedule):
            continue
        fixed = [{n: v for n, v in spec.all_options.items() if n not in mine.space} for spec in (one, other)]
        if alike(*fixed):
            raise OptionError(
                f"{one.label!r} and {other.label!r} are the same optimizer with the same options and the same search "
                "space: leave one out, or give one of them another space."
            )
