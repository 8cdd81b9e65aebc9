"""What a command shows as text: broken between words, in the characters that the terminal has, at once.

Imports nothing that takes long.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from contextlib import suppress
from typing import TextIO

from ravine._fallback_characters import FALLBACK, visible


def fit_encoding() -> None:
    """Let standard output and error write other characters for those that their encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and not (stream.encoding or "").lower().startswith("utf"):
            reconfigure(errors=FALLBACK)


def say(text: str, *, err: bool = False, wrap: bool = True, indent: int = 0) -> None:
    """Write lines to standard output, or to standard error.

    Characters that would move the cursor, which names in files may have, are escaped.

    Args:
        text: what to say; on a terminal its lines are broken between words.
        err: to standard error.
        indent: how far the rest of a broken line is moved to the right.
        wrap: False leaves lines as they are, for what will be copied, such as a command.
    """
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # a program without a console
        return
    text = "\n".join(map(visible, text.split("\n")))
    if wrap and is_terminal(stream):
        rest = " " * indent
        width = shutil.get_terminal_size().columns
        wrapped = (
            textwrap.wrap(line, width, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False) or [""]
            for line in text.splitlines()
        )
        text = "\n".join(part for parts in wrapped for part in parts)
    stream.write(f"{text}\n")
    stream.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal; a closed one, or none, is not."""
    with suppress(ValueError):
        return stream is not None and stream.isatty()
    return False
