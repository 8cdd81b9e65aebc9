"""What stands for a character that a terminal's encoding does not have: ``+-`` for ±, ``theta`` for θ.

An error handler of Python's codecs, ``errors=FALLBACK``: registered when this file is imported. ``printable`` is for text that
users print themselves.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata

FALLBACK = "ravine-fallback"

_INSTEAD = {
    "±": "+-", "×": "x", "÷": "/", "·": "*", "⋅": "*", "−": "-", "–": "-", "—": "-", "‖": "||", "│": "|", "┃": "|",
    "─": "-", "━": "-", "╸": "-", "╺": "-", "═": "=", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+",
    "┼": "+", "←": "<-", "→": "->", "▶": ">", "•": "*", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "√": "sqrt ", "∇": "grad ",
    "Σ": "sum", "∑": "sum", "∞": "inf", "…": "...", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "µ": "u",
    "✓": "*", "✗": "x", "⊙": "*", "ℓ": "l", "∂": "d",
}  # fmt: skip


def visible(text: str) -> str:
    """A name in one line, without what would move a cursor or change a color: an escape character is written ``\\x1b``."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable(text: str) -> str:
    """The text in characters that standard output has, each line as :func:`visible` has it."""
    text = "\n".join(map(visible, text.split("\n")))
    encoding = getattr(sys.stdout, "encoding", None)
    try:
        return text.encode(encoding, FALLBACK).decode(encoding) if encoding else text
    except (LookupError, UnicodeError):  # an encoding that Python does not know, or a lone surrogate
        return text


def plain(text: str) -> str:
    """Text in ASCII: what means the same, a Greek letter's name, a letter without its accent, ``x_t-1``, ``x^2``, or ``?``."""
    made, before = [], ""
    for character in text:
        name = unicodedata.name(character, "")
        raised = (
            "^" if name.startswith(("SUPERSCRIPT ", "MODIFIER LETTER SMALL ")) else "_" if "SUBSCRIPT " in name else ""
        )
        made.append((raised if raised != before else "") + _plain_character(character, name))
        before = raised
    return "".join(made)


def _plain_character(character: str, name: str) -> str:
    if character.isascii():
        return character
    if character in _INSTEAD:
        return _INSTEAD[character]
    if name.startswith("GREEK ") and " LETTER " in name:
        word = name.partition(" LETTER ")[2].partition(" WITH ")[0]
        return word.split()[-1].replace("LAMDA", "LAMBDA").lower()
    letters = "".join(_INSTEAD.get(c, c) for c in unicodedata.normalize("NFKD", character))
    return letters.encode("ascii", "ignore").decode() or ("" if unicodedata.combining(character) else "?")


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


codecs.register_error(FALLBACK, _handle)
