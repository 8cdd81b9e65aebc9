"""Watching a run: what every step did to every parameter, where a NaN came from, and what went wrong in words.

watch.py    what ``optimizer.watch`` is; record.py gathers the figures of steps, history.py and table.py show them
nan/        finds the module that a NaN came from
doctor/     looks at a whole run and says what is wrong with it
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine.watch.doctor.diagnosis import Diagnosis, Symptom, diagnose
    from ravine.watch.doctor.evidence import Evidence
    from ravine.watch.nan.finding import Finding
    from ravine.watch.nan.reproducing import reproduce
    from ravine.watch.nan.tracing import trace

__all__ = ["Diagnosis", "Evidence", "Finding", "Symptom", "diagnose", "reproduce", "trace"]

_FROM = {
    "Diagnosis": "ravine.watch.doctor.diagnosis",
    "Evidence": "ravine.watch.doctor.evidence",
    "Finding": "ravine.watch.nan.finding",
    "Symptom": "ravine.watch.doctor.diagnosis",
    "diagnose": "ravine.watch.doctor.diagnosis",
    "reproduce": "ravine.watch.nan.reproducing",
    "trace": "ravine.watch.nan.tracing",
}
"""Where each name is, imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_FROM[name]), name)
