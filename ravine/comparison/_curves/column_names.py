"""Which column is the optimizer, the run, the step and the value: by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ravine.errors import DataError, Error, OptionError, for_both, nearest, shown

#: What a curve needs, and the names it goes by, compared without case, spaces and punctuation. The first wins over others.
ALIASES: Mapping[str, Sequence[str]] = {
    "optimizer": ("optimizer", "optim", "opt", "method", "arm", "config", "configuration", "algorithm"),
    "run": ("run", "seed", "trial", "replicate", "repetition", "runid"),
    "step": ("step", "steps", "globalstep", "iteration", "iterations", "iter", "epoch"),
    "value": ("value", "loss", "valloss", "validloss", "validationloss", "evalloss"),
}
_EXAMPLE = "optimizer=method,value=val_loss"
_CONTENT = {
    "optimizer": "the name of the optimizer",
    "run": "a name or a number for each run, such as its seed",
    "step": "the number of the step",
    "value": "what is compared, such as the validation loss",
}


def parse_columns(text: str) -> dict[str, str]:
    """``"optimizer=method,value=val_loss"`` as a dict: what a column is, to its name.

    Raises:
        OptionError: it is not of that form, or names something else than optimizer, run, step and value.
    """
    columns: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, name = (word.strip() for word in part.partition("="))
        if not (role and equals and name):
            raise with_columns(OptionError, f"{part!r} names no column: write", _EXAMPLE)
        if role in columns:
            raise OptionError(f"{role} is given twice, as {columns[role]!r} and as {name!r}.")
        columns[role] = name
    _check_columns(columns)
    return columns


def columns_of(columns: object) -> dict[str, str]:
    """The names of columns by what they are, of whatever an argument ``columns`` may be: None, a text or a dict.

    Raises:
        OptionError: it is none of these, or names something else than optimizer, run, step and value.
    """
    if columns is None:
        return {}
    if isinstance(columns, str):
        return parse_columns(columns)
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns.values()):
        raise OptionError(f"columns = {shown(columns)}: write what each column is called, columns={_EXAMPLE!r}.")
    _check_columns(columns)
    return dict(columns)


def _check_columns(columns: Mapping[str, str]) -> None:
    """Refuse what is no column of a curve, or is two at once.

    Raises:
        OptionError: a key is none of optimizer, run, step and value, or two have one name.
    """
    for role, name in columns.items():
        if role not in ALIASES:
            raise OptionError(f"A curve has no {role!r} to name a column for. {nearest(role, ALIASES)}")
        first = next(other for other in columns if columns[other] == name)
        if first != role:
            raise OptionError(
                f"columns: {name!r} is named for the {first} and for the {role}; a column is one of them."
            )


def find_role(
    role: str, names: Sequence[str], columns: Mapping[str, str], where: str, what: str = "column"
) -> str | None:
    """The one of these names that is the ``role``; None if there is none.

    Args:
        role: a key of ``ALIASES``.
        names: all names that there are.
        columns: names that the user gave, by role.
        where: the file, for errors.
        what: what the names are names of.

    Raises:
        DataError: the name that the user gave is not there, or several names may be meant.
    """
    if role in columns:
        wanted = columns[role]
        if wanted in names:
            return wanted
        matches = [name for name in names if _plain(name) == _plain(wanted)]
        if len(matches) != 1:
            raise DataError(f"{where} has no {what} {wanted!r} for the {role}. {nearest(wanted, names)}")
        return matches[0]
    taken = {_plain(name) for other, name in columns.items() if other != role}
    matches = [name for name in dict.fromkeys(names) if _plain(name) in ALIASES[role] and _plain(name) not in taken]
    first = [name for name in matches if _plain(name) == ALIASES[role][0]]
    if len(matches) > 1 and len(first) != 1:
        listed = " and ".join(map(repr, matches))
        raise with_columns(DataError, f"{where}: {listed} may each be the {role}: say which,", f"{role}={matches[0]}")
    return (first or matches)[0] if matches else None


def find_all(names: Sequence[str], columns: Mapping[str, str], where: str, what: str = "column") -> dict[str, str]:
    """The name of each role; ``step`` may be missing, where a run has one value.

    Raises:
        DataError: one is missing, or several names may be meant.
    """
    by_role = {}
    for role in ALIASES:
        name = find_role(role, names, columns, where, what)
        if name is None and role != "step":
            raise missing(role, names, where, what, columns)
        if name is not None:
            by_role[role] = name
    return by_role


def missing(
    role: str, names: Sequence[str], where: str, what: str = "column", columns: Mapping[str, str] | None = None
) -> DataError:
    """The error where none of the names is the ``role``, or the user has named the one that is for another in ``columns``."""
    for other, name in (columns or {}).items():
        if name in names and _plain(name) in ALIASES[role]:
            problem = f"{where}: the {what} {name!r} was named for the {other}, so there is none for the {role}. Of"
            problem += f" {listed_names(names)} say which is which, as in"
            return with_columns(DataError, problem, _EXAMPLE)
    others = f" (or {', '.join(ALIASES[role][1:4])})"
    several = ", which a run with several values needs" * (role == "step")
    problem = f"{where} has no {what} {role!r}{others}{several}. It has {listed_names(names)}"
    known = {alias for other in ALIASES.values() for alias in other}
    spare = [name for name in names if _plain(name) not in known and name not in (columns or {}).values()]
    if not spare:
        return DataError(f"{problem}: add one with {_CONTENT[role]}.")
    example = _EXAMPLE if role in ("optimizer", "value") else f"{role}={spare[0]}"
    return with_columns(DataError, f"{problem}: say which it is, as in", example)


def with_columns(kind: type[Error], problem: str, columns: str) -> Error:
    """An error that ends with what to write."""
    return for_both(kind(f"{problem} columns={columns!r}."), f"{problem} --columns {columns}.")


def listed_names(names: Iterable[str], most: int = 12) -> str:
    """Names for a sentence, not more than a reader looks at."""
    shown = [repr(name) for name in names]
    rest = f" and {len(shown) - most} more" if len(shown) > most else ""
    return (", ".join(shown[:most]) or "none") + rest


def _plain(name: str) -> str:
    """A name without case, spaces and punctuation: ``val/loss``, ``Val Loss`` and ``val_loss`` are one."""
    return re.sub(r"[\W_]+", "", name.casefold())
