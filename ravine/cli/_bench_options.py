"""The options of ``ravine bench`` as one value, which the command makes and passes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ravine.errors import OptionError

#: Where a field is not called as its option.
_OPTIONS = {"cases": "case", "optimizers": "optimizer", "every": "all", "with_compile": "compile", "watching": "watch"}


@dataclass(frozen=True)
class BenchOptions:
    """What is timed, and how; what each is for stands in the help of its option.

    Attributes:
        cases, optimizers: by name; empty: those that are timed unless said.
        every: all of both.
        with_compile, first_step, endurance, watching, targets: what is asked for.
        dtype, threads, rounds: None: the usual one.
        json_file: where the figures go; None: nowhere.
    """

    cases: tuple[str, ...]
    optimizers: tuple[str, ...]
    every: bool
    dtype: str | None
    threads: int | None
    rounds: int | None
    with_compile: bool
    first_step: bool
    endurance: bool
    watching: bool
    targets: bool
    json_file: Path | None

    def refuse(self, *fields: str, why: str) -> None:
        """Refuse what was given and would be ignored.

        Raises:
            OptionError: one of these fields was given; it says ``why`` after the name of the option.
        """
        for field in fields:
            if getattr(self, field):
                raise OptionError(f"--{_OPTIONS.get(field, field).replace('_', '-')} {why}")
