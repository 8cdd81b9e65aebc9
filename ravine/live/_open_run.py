"""The live page of a training's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ravine.live._run_parts import run_parts
from ravine.live._run_reading import RunReading
from ravine.live._server import LivePage
from ravine.live._watcher import Watcher


def live_run(folder: Path, actions: Mapping[str, Callable[[Mapping[str, Any]], str]] | None = None) -> LivePage:
    """The page of a training, whether it runs, has ended or has not begun; nothing is written but by ``actions``."""
    reading = RunReading(folder)

    def poll() -> Mapping[str, Any] | None:
        run = reading.poll()
        return None if run is None else run_parts(run)

    return LivePage("run", str(folder), Watcher(poll), actions=actions)
