"""The result of the learning-rate finder: the sweeps, what each rule suggests, as text, picture and JSON.

lr_rules.py interprets the losses.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ravine import _files as files
from ravine.errors import OptionError
from ravine.train._lr_find.lr_rules import Suggestion, short, suggest
from ravine.train._names_of_others import OF_LR_FIND, AnswersNearest


class LRFind(AnswersNearest):
    """The result of a learning-rate search: the sweeps, and what each rule suggests. Printing it shows the suggestions.

    Args:
        rates: the learning rates tried, ascending, shape (steps,).
        losses: shape (orders, steps), one row for each order of the batches, NaN from where a sweep ended.
        notes: what else was seen in the sweeps, such as a loss that broadcasts outputs against targets.

    Raises:
        OptionError: shapes that do not fit each other, or rates that are not positive and ascending.
    """

    _of_others = OF_LR_FIND

    def __init__(
        self,
        rates: Sequence[float] | np.ndarray,
        losses: Sequence[Sequence[float]] | np.ndarray,
        *,
        notes: Sequence[str] = (),
    ) -> None:
        self.notes = tuple(notes)
        self.rates, self.losses = np.asarray(rates, dtype=np.float64), np.asarray(losses, dtype=np.float64)
        self.suggestions = suggest(self.rates, self.losses)
        """By rule, in the order of preference."""

    @property
    def _recommended(self) -> Suggestion | None:
        return next((s for s in self.suggestions.values() if s.answered), None)

    @property
    def answered(self) -> bool:
        """Whether any rule suggests a rate."""
        return self._recommended is not None

    @property
    def lr(self) -> float:
        """The recommended rate: the valley's, else the steepest descent's, else the minimum's.

        Raises:
            OptionError: no rule suggests one; the text says why.
        """
        if self._recommended is None:
            raise OptionError(f"There is no learning rate to suggest. {self._refusals()}")
        return self._recommended.lr

    def plot(self, path: str | Path | None = None, title: str = "learning-rate finder") -> Any:
        """A matplotlib figure of the sweeps and the suggestions; with ``path`` also written there as PNG."""
        from ravine._plotting.style import png
        from ravine.train._lr_find.lr_plot import draw_lr_find

        figure = draw_lr_find(
            self.rates,
            self.losses,
            [(s.rule, s.lr, s.low, s.high) for s in self.suggestions.values()],
            title=title,
            reason="" if self.answered else self._refusals(),
        )
        if path is not None:
            files.write(Path(path), png(figure))
        return figure

    def to_dict(self) -> dict[str, Any]:
        """Rates, losses and suggestions in JSON's types, with None where there is no number."""
        suggestions = {rule: {k: _json(v) for k, v in vars(s).items()} for rule, s in self.suggestions.items()}
        losses = [[_json(loss) for loss in row] for row in self.losses.tolist()]
        return {
            "rates": self.rates.tolist(),
            "losses": losses,
            "suggestions": suggestions,
            "notes": list(self.notes),
        }

    def _refusals(self) -> str:
        """Why rules have no answer: each reason once, after the names of its rules."""
        rules: dict[str, list[str]] = {}
        for s in self.suggestions.values():
            if not s.answered:
                rules.setdefault(s.reason, []).append(s.rule)
        if len(rules) == 1 and not self.answered:
            return next(iter(rules))
        return "\n".join(f"{' and '.join(names)}: {reason}" for reason, names in rules.items())

    def __str__(self) -> str:
        lines = []
        if self.answered:
            rows = [("rule", "lr", "low", "high")]
            rows += [(s.rule, short(s.lr), short(s.low), short(s.high)) for s in self.suggestions.values()]
            lines = [f"{rule:<9}{lr:>9}{low:>9}{high:>9}".rstrip() for rule, lr, low, high in rows]
            best = 1 + list(self.suggestions.values()).index(self._recommended)  # type: ignore[arg-type]
            lines[best] += "  <- recommended"
        else:
            lines = ["There is no learning rate to suggest."]
        for line in filter(None, self._refusals().splitlines()):
            lines += textwrap.wrap(line, 79, subsequent_indent="  " if self.answered else "")
        for note in self.notes:
            lines += textwrap.wrap(f"Note: {note}", 79, subsequent_indent="  ")
        return "\n".join(lines)

    def __repr__(self) -> str:
        tried = f"{len(self.rates)} rates from {short(self.rates[0])} to {short(self.rates[-1])}"
        suggestion = f"lr={short(self.lr)}" if self.answered else "no suggestion"
        return f"LRFind({suggestion}; {len(self.losses)} sweeps over {tried})"

    def __iter__(self) -> NoReturn:
        """Refuses ``lr_min, lr_steep = learn.lr_find()``: the rules have names.

        Raises:
            TypeError: always.
        """
        raise TypeError("an LRFind is not several rates: found.lr is the one to use, found.suggestions has one by rule")

    def _repr_html_(self) -> str:
        from ravine.train._lr_find.lr_output import lr_find_html

        reasons = [*self._refusals().splitlines(), *(f"Note: {note}" for note in self.notes)]
        return lr_find_html(self.rates, self.losses, list(self.suggestions.values()), self._recommended, reasons)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
