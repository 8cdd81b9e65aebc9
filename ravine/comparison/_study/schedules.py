"""The schedules of a study: one for all optimizers, or one of its own for some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ravine.errors import OptionError, nearest, shown
from ravine.train import Callback, TorchScheduler
from ravine.train._schedules.by_text import parse

SchedulesLike = str | Mapping[str, str]
"""A schedule for all optimizers, as text; or by label, where ``"*"`` is all others. Empty: the rate stays."""

OTHERS = "*"


def schedules_from_words(words: Iterable[str]) -> SchedulesLike:
    """What the command line names: ``cosine`` for all others, ``adam=warmup:0.1`` for one.

    Raises:
        OptionError: one is named twice.
    """
    by_label: dict[str, str] = {}
    for word in words:
        label, _, text = word.rpartition("=")
        label = label or OTHERS
        if label in by_label:
            whose = "for all optimizers" if label == OTHERS else f"of {label}"
            raise OptionError(
                f"schedule {word!r}: the schedule {whose} is {by_label[label]!r} already. One optimizer's own is written "
                "LABEL=SCHEDULE, such as adam=warmup-cosine:0.1."
            )
        by_label[label] = text
    return by_label


def schedules_of(given: SchedulesLike, labels: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The schedule of all optimizers, and by label the own ones of some; empty where the rate stays.

    Raises:
        OptionError: there is no such schedule, or no such optimizer.
    """
    by_label = {OTHERS: given} if isinstance(given, str) else given
    if not isinstance(by_label, Mapping):
        raise OptionError(
            f"schedule = {shown(given)}: name one as text, such as 'cosine', or one for each optimizer, such as "
            f"{{{labels[0]!r}: 'warmup-cosine:0.1'}}."
        )
    for label, text in by_label.items():
        if label != OTHERS and label not in labels:
            raise OptionError(f"schedule: {label!r} is not among the optimizers. {nearest(str(label), labels)}")
        if not isinstance(text, str):
            raise OptionError(f"schedule = {shown(text)}: name one as text, such as 'cosine'.")
        if text:
            parse(text)
    common = by_label.get(OTHERS, "")
    own = {label: text or "constant" for label, text in by_label.items() if label != OTHERS}
    return common, {label: text for label, text in own.items() if text != (common or "constant")}


def schedule_of_training(text: str, steps: int) -> Callback | None:
    """The schedule of a training of so many steps, which may end within an epoch."""
    schedule = parse(text) if text else None
    return schedule.over(steps) if isinstance(schedule, TorchScheduler) else schedule
