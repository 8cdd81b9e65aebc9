"""The text of a table's cells and how they are aligned: every row stands under the header printed before it.

Prints nothing; knows neither colours nor terminals.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from ravine._fallback_characters import FALLBACK

_EXPONENT_FROM = 6  # from a million on, and below a thousandth, numbers are written with an exponent


def number(value: float, digits: int = 5) -> str:
    """A number with ``digits`` significant digits, fewer with an exponent or below 0.01.

    At most ``digits + 3`` characters without the sign: 2.3026, 0.086214, 1.23e-07, nan, -inf.
    """
    if not math.isfinite(value):
        return str(float(value))
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 9.99999 counts as 10
    if value == 0 or -3 <= exponent < _EXPONENT_FROM:
        return f"{value:.{min(max(digits - 1 - exponent, 0), digits + 1)}f}"
    return f"{value:.{digits - 3 - (abs(exponent) >= 100)}e}"


def duration(seconds: float) -> str:
    """Seconds in at most seven characters: 12 ms, 1.3 s, 00:12, 1:02:03, 12h 05m, 4d 7h; nan and inf as they are."""
    if not math.isfinite(seconds):
        return str(float(seconds))
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else clock(seconds)


def clock(seconds: float) -> str:
    """Whole seconds in at most seven characters: 00:01, 1:02:03, 12h 05m, 4d 7h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes:02}:{rest:02}"
    if hours < 10:
        return f"{hours}:{minutes:02}:{rest:02}"
    if hours < 100:
        return f"{hours}h {minutes:02}m"
    return f"{hours // 24}d {hours % 24}h" if hours < 2400 else f"{hours // 24} d"


def cell(column: str, value: object, digits: int = 5) -> str:
    """The text of a value in a column: a duration under ``time``, a number, or else the value as text."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, int) and column != "time" and len(str(value)) <= digits + 3:
        return str(value)
    try:
        measured = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return plain(str(value))
    return duration(measured) if column == "time" else number(measured, digits)


def plain(text: str, encoding: str | None = None) -> str:
    """The text without what would move a cursor (control characters, line ends) and what cannot be encoded."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean.encode(encoding, FALLBACK).decode(encoding) if encoding else clean


class Layout:
    """How the cells of a table are laid out: in columns of fixed width, on one line if that fits.

    Args:
        columns: the names. Numbers are aligned at their decimal points.
        epochs: the largest number under ``epoch``.
        limit: the width of a line in characters. If the table is wider, names are wrapped and numbers lose a digit;
            if that is not enough, rows are folded over several lines. None for no limit.
    """

    def __init__(self, columns: Sequence[str], epochs: int, limit: int | None = None) -> None:
        self.columns = [plain(name) for name in columns]
        self._arrange(epochs, 5, 2, narrow=False)
        if limit is not None and sum(self._widths) + self._gap * (len(columns) - 1) > limit:
            self._arrange(epochs, 4, 1, narrow=True)
        self._folds = self._fold(limit)

    def _arrange(self, epochs: int, digits: int, gap: int, narrow: bool) -> None:
        from rich.cells import cell_len

        self.digits, self._gap = digits, gap
        least = {"epoch": len(str(epochs)), "time": 7}
        self._widths, self._heads = [], []
        for name in self.columns:
            width = least.get(name, digits + 5 - narrow)
            head = textwrap.wrap(name.replace("_", " "), max(width, 5)) or [""] if narrow else [name]
            self._heads.append(head)
            self._widths.append(max([width, *map(cell_len, head)]))

    def _fold(self, limit: int | None) -> list[list[int]]:
        """The columns of each line."""
        folds: list[list[int]] = [[]]
        used = 0
        for index, width in enumerate(self._widths):
            if limit is not None and folds[-1] and used + self._gap + width > limit:
                folds.append([])
                used = self._indent
            used += width + (self._gap if folds[-1] else 0)
            folds[-1].append(index)
        return folds

    @property
    def _indent(self) -> int:
        """Where folded lines begin: to the right of the first column."""
        return self._widths[0] + self._gap

    def header(self) -> list[str]:
        """The lines above the table."""
        lines = []
        for fold in self._folds:
            height = max(len(self._heads[i]) for i in fold)
            for line in range(-height, 0):
                heads = [self._heads[i] for i in fold]
                lines.append(self._line(fold, [h[line] if len(h) >= -line else "" for h in heads]))
        return lines

    def row(self, cells: Sequence[object]) -> list[str]:
        """The lines of one epoch: one, unless the columns had to be folded."""
        texts = [self._text(name, value) for name, value in zip(self.columns, cells, strict=True)]
        return [self._line(fold, [texts[i] for i in fold]) for fold in self._folds]

    def _text(self, column: str, value: object) -> str:
        text = cell(column, value, self.digits)
        if column in ("epoch", "time") or isinstance(value, str):
            return text
        if text.endswith(("nan", "inf")):
            return text.ljust(self.digits + 3 + text.startswith("-"))  # begins where a number's first digit stands
        whole, point, fraction = text.partition(".")
        return whole + (point + fraction).ljust(self.digits + 2)

    def _line(self, fold: list[int], texts: list[str]) -> str:
        from rich.cells import cell_len, set_cell_size

        placed = []
        for index, text in zip(fold, texts, strict=True):
            width = self._widths[index]
            excess = cell_len(text) - width
            text = text[: len(text) - min(excess, len(text) - len(text.rstrip()))] if excess > 0 else text
            placed.append(set_cell_size(" " * max(width - cell_len(text), 0) + text, width))
        indent = " " * self._indent if fold[0] else ""
        return indent + (" " * self._gap).join(placed)
