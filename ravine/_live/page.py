"""The page: its skeleton, styles and script, with the parts that are known when it is asked for inside."""

from __future__ import annotations

from functools import cache

from ravine._plotting.html import plotly_script, rendered

_FOLDERS = ("_live/templates", "comparison/_report/templates")


def page(kind: str, title: str, parts: str, nonce: str, *, control: bool) -> bytes:
    """The page in UTF-8.

    Args:
        kind: ``"run"`` or ``"study"``.
        title: of the browser's tab, until the first event.
        parts: the parts as JSON.
        nonce: what its own script must be marked with.
        control: whether the buttons that act are there.
    """
    inside = parts.replace("<", "\\u003c")  # so that no text of a run ends the script that holds it
    return rendered(f"live_{kind}.html", *_FOLDERS, title=title, parts=inside, nonce=nonce, control=control, plotly="")


@cache
def plotly() -> bytes:
    """The script of plotly, which draws the charts."""
    return plotly_script().encode()
