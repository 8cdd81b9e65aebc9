"""The live page of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ravine.comparison._study.location import Location
from ravine.live._server import LivePage
from ravine.live._study_parts import study_parts
from ravine.live._study_reading import StudyReading
from ravine.live._watcher import Watcher

_REPORT = ("report.html", "report.md", "results.json", "results.csv")


def live_study(where: Location, actions: Mapping[str, Callable[[Mapping[str, Any]], str]] | None = None) -> LivePage:
    """The page of a study, whether it runs, is complete or has not begun; nothing is written but by ``actions``."""
    reading = StudyReading(where)
    folders = [where.folder]

    def poll() -> Mapping[str, Any] | None:
        study = reading.poll()
        if study is None:
            return None
        folders[:] = [study.where.folder]
        return study_parts(study)

    def files() -> dict[str, Path]:
        return {name: folders[0] / name for name in _REPORT}

    return LivePage("study", where.study, Watcher(poll), files, actions)
