"""What stands for a character that a terminal's encoding does not have: ``+-`` for ±, ``theta`` for θ.

An error handler of Python's codecs, ``errors=FALLBACK``: registered when this file is imported.
"""

from __future__ import annotations

import codecs
import unicodedata

FALLBACK = "ravine-fallback"

_INSTEAD = {
    "±": "+-", "×": "x", "÷": "/", "·": "*", "⋅": "*", "−": "-", "–": "-", "—": "-", "‖": "||", "│": "|", "┃": "|",
    "─": "-", "━": "-", "╸": "-", "╺": "-", "═": "=", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+",
    "┼": "+", "←": "<-", "→": "->", "▶": ">", "•": "*", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "√": "sqrt", "∇": "grad ",
    "Σ": "sum", "∑": "sum", "∞": "inf", "…": "...", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "µ": "u",
    "✓": "ok", "✗": "x", "⊙": "*", "ℓ": "l", "∂": "d",
}  # fmt: skip


def plain_character(character: str) -> str:
    """One character in ASCII: what means the same, a Greek letter's name, a letter without its accent, or ``?``."""
    if character in _INSTEAD:
        return _INSTEAD[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK ") and " LETTER " in name:
        word = name.partition(" LETTER ")[2].partition(" WITH ")[0]
        return word.split()[-1].replace("LAMDA", "LAMBDA").lower()
    if name.startswith("BRAILLE PATTERN"):
        return "*"
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return letters or ("" if unicodedata.combining(character) else "?")


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain_character, error.object[error.start : error.end])), error.end


codecs.register_error(FALLBACK, _handle)
