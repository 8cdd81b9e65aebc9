"""The optimizer and the run in one name, where a file has no columns for them: ``adam-1``, ``sgd_seed2``, ``adamw/run=3``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ravine.comparison._curves.curves import Place
from ravine.errors import DataError

# not the end of 1e-3
_NAME = re.compile(r"(.+?)(?<!\d[eE])[-_/ ]+(?:(?:seed|run|trial|rep|s)[-_= ]*)?(\d+)", re.IGNORECASE)
_MANY = 6  # optimizers or runs that a sentence names


def split_name(name: str, place: Place) -> tuple[str, str]:
    """The optimizer, and the number of the run.

    Raises:
        DataError: the name does not end in a number.
    """
    found = split_if_named(name)
    if found is None:
        raise DataError(
            f"{place}: the name of the run {name!r} does not end in its number, as adam-1 and adam_seed2 do, so its optimizer "
            f"is not known. {_as_table(name)}"
        )
    return found


def split_if_named(name: str) -> tuple[str, str] | None:
    """The optimizer, and the number of the run; None if the name does not end in a number."""
    found = _NAME.fullmatch(name.strip())
    return None if found is None else (found[1], found[2])


def check_groups(groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse optimizers with one run each: names such as eager-sun-5 and brave-fog-6 say nothing of an optimizer.

    Raises:
        DataError: all have one run.
    """
    if groups and all(len(runs) == 1 for runs in groups.values()):
        first, (run,) = next(iter(groups.items()))
        raise DataError(
            f"By the names of the runs no optimizer has two of them: {_few(f'{name} has {runs[0]}' for name, runs in groups.items())}. "
            f"{_as_table(f'{first}-{run}')}"
        )


def groups_text(groups: Mapping[str, Sequence[str]]) -> str:
    """How runs were grouped by their names."""
    shown = _few((f"{name} has {_few(runs)}" for name, runs in groups.items()), "; ")
    return f"Runs were grouped by their names: {shown}. The same number stands for the same seed."


def _as_table(name: str) -> str:
    return (
        "Rename the runs, or write a table with a line for each value, that begins with the lines optimizer,run,step,value and, "
        f"for example, adam,{name},100,0.5."
    )


def _few(parts: Iterable[str], separator: str = ", ") -> str:
    listed = list(parts)
    more = f" and {len(listed) - _MANY} more" if len(listed) > _MANY else ""
    return separator.join(listed[:_MANY]) + more
