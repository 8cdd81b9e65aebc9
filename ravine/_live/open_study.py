"""The live page of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine._live.control import study_actions
from ravine._live.server import LivePage
from ravine._live.study_parts import study_parts
from ravine._live.study_reading import StudyReading
from ravine._live.watcher import Watcher
from ravine.comparison._study.location import Location

_REPORT = ("report.html", "report.md", "results.json", "results.csv")


def live_study(where: Location, *, control: bool = False) -> LivePage:
    """The page of a study, whether it runs, is complete or has not begun; without ``control`` nothing is written.

    Args:
        where: the study; without a name it is the one that is in the storage.
        control: whether the page can act.
    """
    reading = StudyReading(where)

    def poll() -> Mapping[str, Any] | None:
        study = reading.poll()
        return None if study is None else study_parts(study)

    def files() -> dict[str, Path]:
        return {name: reading.place.folder / name for name in _REPORT}

    return LivePage(
        "study", where.study or str(where.folder), Watcher(poll), files, study_actions(reading) if control else {}
    )
