"""Watching a run: what every step did to every parameter, where a NaN came from, and what went wrong in words."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine.watch.finding import Finding
    from ravine.watch.reproducing import reproduce
    from ravine.watch.tracing import trace

__all__ = ["Finding", "reproduce", "trace"]

_FROM = {
    "Finding": "ravine.watch.finding",
    "reproduce": "ravine.watch.reproducing",
    "trace": "ravine.watch.tracing",
}
"""Where each name is, imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_FROM[name]), name)
