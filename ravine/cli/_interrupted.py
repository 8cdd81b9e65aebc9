"""What is said after Ctrl-C, the same in every command: what is kept, and the command that goes on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ravine.cli._screen import say

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def say_interrupted(interrupt: BaseException, words: Sequence[str]) -> None:
    """Say how to go on.

    Args:
        interrupt: its notes say what is kept, and how to go on; without any nothing is, and the command is to be given again.
        words: the command, without ``ravine``.
    """
    notes = getattr(interrupt, "__notes__", [])
    say("\n".join(["ravine: Interrupted.", *(notes or [again(words)])]), err=True, wrap=False)


def again(words: Sequence[str]) -> str:
    """What to do if nothing is kept."""
    return f"Nothing new is kept. Start again: {shlex.join(['ravine', *words])}"
