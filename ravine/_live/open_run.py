"""The live page of a training's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine._live.control import run_actions
from ravine._live.run_parts import run_parts
from ravine._live.run_reading import RunReading
from ravine._live.server import LivePage
from ravine._live.watcher import Watcher


def live_run(folder: Path, *, control: bool = False) -> LivePage:
    """The page of a training, whether it runs, has ended or has not begun; without ``control`` nothing is written."""
    reading = RunReading(folder)

    def poll() -> Mapping[str, Any] | None:
        run = reading.poll()
        return None if run is None else run_parts(run)

    return LivePage("run", str(folder), Watcher(poll), actions=run_actions(folder) if control else {})
