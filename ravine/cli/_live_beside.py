"""``--live`` of ``ravine train`` and ``ravine compare``: the page beside what they run."""

from __future__ import annotations

from collections.abc import Sequence

from ravine._live.beside import start_beside
from ravine._live.serving import open_browser
from ravine.cli._screen import say


def show_live(words: Sequence[str]) -> None:
    """Start the page, say its address, and open it where there is a browser.

    Args:
        words: the arguments of ``ravine live`` that say what is shown.

    Raises:
        PackageError: what serves it is not installed.
    """
    address = start_beside(words)
    say(f"Live: {address}", err=True, wrap=False)
    open_browser(address)
