"""How help texts are laid out: words stay whole, no line is longer than the terminal, and long terms get a line."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable

import click

_WIDEST, _NARROWEST = 80, 40  # columns


class _Layout(click.HelpFormatter):
    """Click's, which breaks words at hyphens, ranges at digits, and gives terms half of a narrow terminal."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = max(_NARROWEST, min(max_width or _WIDEST, shutil.get_terminal_size().columns))
        super().__init__(indent_increment, width or columns - 2, max_width)

    def write_text(self, text: str) -> None:
        paragraphs = (self._lines(paragraph, self.current_indent) for paragraph in text.split("\n\n"))
        self.write("\n\n".join("\n".join(lines) for lines in paragraphs) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        rows = list(rows)
        longest = min(col_max, self.width // 3)
        column = self.current_indent + min(longest, max(len(term) for term, _ in rows)) + col_spacing
        for term, text in rows:
            lines = self._lines(text, column)
            begin = " " * self.current_indent + term
            if len(begin) + col_spacing > column or not lines:
                self.write(f"{begin}\n")
            else:
                self.write(f"{begin:{column}}{lines.pop(0).strip()}\n")
            self.write("".join(f"{line}\n" for line in lines))

    def _lines(self, text: str, indent: int) -> list[str]:
        space = " " * indent
        return textwrap.wrap(
            " ".join(text.split()),
            self.width,
            initial_indent=space,
            subsequent_indent=space,
            break_long_words=False,
            break_on_hyphens=False,
        )


class LaidOut(click.Context):
    """The context of a command whose help is laid out so."""

    formatter_class = _Layout
