"""A folder has the report of one study: that of another is not written over it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ravine.comparison._study.location import JOURNAL, Location
from ravine.comparison._study.study_spec import StudySpec
from ravine.errors import DataError, OptionError, advised


def check_folder(place: Location, spec: StudySpec | None = None) -> None:
    """Refuse a folder with another study, or with its report.

    Args:
        place: the study, and the folder.
        spec: what the study is; None where it is one of several tasks, which have no spec in common.

    Raises:
        OptionError: the folder has another.
    """
    if found := _other(place, spec):
        problem = f"The folder {place.folder} has {found}: the report of {place.study!r} would be written over it."
        raise advised(OptionError, problem, "Name another folder (--out).")


def _other(place: Location, spec: StudySpec | None) -> str:
    """What a folder has of another study; empty if it has nothing."""
    journal = place.folder / JOURNAL
    if journal.is_file() and journal.stat().st_size and not _is(place.storage, journal):
        return f"a study of its own, in {JOURNAL}"
    try:
        tree = json.loads((place.folder / "results.json").read_bytes())
    except (OSError, ValueError):  # there is none; or it is damaged, and nothing is lost with it
        return ""
    if not isinstance(tree, dict) or "study" not in tree:
        return "a results.json that is not of a study"
    if tree["study"] != place.study:
        return f"the report of the study {tree['study']!r}"
    if ("tasks" in tree) != (spec is None):
        return f"the report of another study {place.study!r}, of {'several tasks' if 'tasks' in tree else 'one task'}"
    if spec is not None and not _is(place.storage, journal) and not _goes_on(spec, tree.get("spec")):
        return f"the report of another study {place.study!r}, with other options"
    return ""


def _is(storage: str, file: Path) -> bool:
    return "://" not in storage and os.path.realpath(storage) == os.path.realpath(file)


def _goes_on(spec: StudySpec, reported: Any) -> bool:
    """Whether a report is of this study, perhaps of when it had fewer seeds, or of when it had more than are asked for."""
    try:
        before = StudySpec.from_json(json.dumps(reported))
    except (DataError, LookupError, TypeError, AttributeError):  # of another version
        return False
    return spec.joined_to(before) is not None or before.joined_to(spec) is not None
